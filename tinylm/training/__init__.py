"""The loop, its callbacks, checkpoints and run folders: floor 5. Knows no task or model by name."""

from .callbacks import (
    early_stopping,
    restore,
    save_best,
    save_checkpoints,
    stop_on_interrupt,
    validate,
    write_metrics,
    write_samples,
)
from .checkpoints import Checkpoint, discard_checkpoints, load_checkpoint, save_checkpoint
from .divergence import stop_on_divergence
from .interrupts import Interrupts
from .range_test import RangeTest, range_test
from .ranking import Ranking, rank_runs
from .run_folder import RunFolder, RunSummary, list_runs, read_metrics, summarise
from .task import StatefulTask, Task
from .tensorboard import TensorBoard
from .trainer import Callback, NonFiniteError, StepResult, Trainer

__all__ = [
    "Callback",
    "Checkpoint",
    "Interrupts",
    "NonFiniteError",
    "RangeTest",
    "Ranking",
    "RunFolder",
    "RunSummary",
    "StatefulTask",
    "StepResult",
    "Task",
    "TensorBoard",
    "Trainer",
    "discard_checkpoints",
    "early_stopping",
    "list_runs",
    "load_checkpoint",
    "range_test",
    "rank_runs",
    "read_metrics",
    "restore",
    "save_best",
    "save_checkpoint",
    "save_checkpoints",
    "stop_on_divergence",
    "stop_on_interrupt",
    "summarise",
    "validate",
    "write_metrics",
    "write_samples",
]
