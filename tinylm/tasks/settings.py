"""The settings of a training run: their names, defaults, and how a user's wishes are read."""

from __future__ import annotations

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from tinylm.errors import FileFormatError, TinylmError, nearest
from tinylm.files import read_json
from tinylm.optim import DECAY_SHAPES, OPTIMIZERS, SCHEDULES
from tinylm_kernels import PRECISIONS

__all__ = [
    "INFINITY",
    "LORA_SETTINGS",
    "OF_NEW_MODELS",
    "OPTIMIZER_SETTINGS",
    "RECURRENT",
    "STEERING",
    "TOKENIZERS",
    "TrainSettings",
    "check_choice",
    "check_range",
    "parse_assignments",
    "read_setting",
    "read_settings",
    "read_settings_file",
    "settings_to_json",
]


INFINITY = float("inf")
TOKENIZERS = ("chars", "bytes", "bpe", "unigram", "wordpiece")  # any other text is the path of one that exists

# Settings, their smallest value, and the one they stay below.
RANGES: tuple[tuple[str, float, float], ...] = (
    ("context layers width heads embedding steps batch_size accumulate validate_every checkpoint_every", 1, INFINITY),
    ("patience divergence seed clip initial_std weight_decay eps power learning_rate final_learning_rate", 0, INFINITY),
    ("warmup decay_share validation dropout lora_dropout beta1 beta2 ema label_smoothing", 0, 1),
    ("kv_heads lora_rank lora_alpha", 0, INFINITY),
)


RECURRENT = ("lstm", "gru")  # the models with a state instead of a context

# What a model brings along that a run begins with (`init`): these belong to new ones.
OF_NEW_MODELS = (
    *("model", "tokenizer", "vocab_size", "layers", "width", "heads", "kv_heads", "embedding", "dropout"),
    *("variational_dropout", "tie_embeddings", "initial_std"),
)

# Settings that may differ when a run is continued: they steer it, and everything saved fits the others as well.
STEERING = ("learning_rate", "final_learning_rate", "clip", "divergence")


@dataclass(frozen=True)
class TrainSettings:
    """What the runs of all tasks depend on; each task adds its own. The same settings, data and machine: the same bits.

    models: the families that can be chosen for a new model.
    """

    models: ClassVar[tuple[str, ...]] = ()

    task: str = ""
    data: tuple[str, ...] = ()  # files, folders and patterns
    text_column: str = "text"  # the field or column of JSON Lines, CSV and Parquet that is the text
    strict: bool = False  # a record that cannot be used ends the run, where else it is skipped and counted
    deduplicate: bool = False  # leave out records that repeat an earlier one; plain text is not looked at
    init: str = ""  # the model to begin with, wherever `tinylm.load` opens one; a new one where empty
    freeze: tuple[str, ...] = ()  # parts of the model that are not trained, as patterns of their names
    lora_rank: int = 0  # of the matrices of LoRA, which are trained instead of the model; 0 trains the model
    lora_alpha: float = 16.0  # their product is scaled by lora_alpha / lora_rank
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ()  # the layers that get some, by how their names end; all linear ones where empty
    tokenizer: str = "chars"  # of TOKENIZERS, or where one lies: a tokenizer.json, a model or run folder
    vocab_size: int = 2048  # tokens that bpe, unigram and wordpiece learn, at most
    validation: float = 0.1  # the last share of the text, held out
    model: str = "gpt2"  # the family
    context: int = 64  # tokens in a window
    layers: int = 4
    width: int = 128  # channels of the Transformer; hidden size of a recurrent model
    heads: int = 4  # of the Transformer
    kv_heads: int = 0  # of llama: heads of keys and values, which heads share; 0 for as many as heads
    embedding: int = 128  # size of a recurrent model's embedding
    dropout: float = 0.0
    variational_dropout: bool = False  # of recurrent models: one mask for all steps of a row
    tie_embeddings: bool = True  # the output projection is the embedding, where their sizes agree
    initial_std: float = 0.05  # of the first weights; of recurrent models, 1 / sqrt(size) instead
    steps: int = 2500
    batch_size: int = 12  # windows a step
    accumulate: int = 1  # slices a batch is cut into, to need less memory
    precision: str = "float32"  # of the matrix products in training, or bfloat16: docs/precision.md
    gradient_checkpointing: bool = False  # compute blocks again in the backward pass: less memory, more time
    optimizer: str = "adamw"  # or adam, lion, muon, adafactor, rmsprop, adagrad, sgd: docs/optimizers.md
    learning_rate: float = 3e-3  # the peak
    final_learning_rate: float = 9e-5
    schedule: str = "cosine"  # or linear, constant, polynomial, inverse_sqrt, wsd, one_cycle: docs/optimizers.md
    warmup: float = 0.04  # share of the steps in which the rate rises to its peak
    decay_share: float = 0.2  # share of the steps in which wsd falls to the final rate
    decay_shape: str = "1-sqrt"  # of wsd: 1-sqrt, linear or cosine
    power: float = 2.0  # of the polynomial schedule
    beta1: float = 0.9  # how much stays of the mean of gradients; for sgd and muon, the momentum
    beta2: float = 0.99  # and of the mean of their squares
    eps: float = 1e-8  # added to the root of that mean before it divides
    weight_decay: float = 0.1  # of matrices and embeddings
    ema: float = 0.0  # decay of the running mean of the weights that is validated and kept; 0 for none
    clip: float = 1.0  # largest norm of the gradients; 0 for no limit
    label_smoothing: float = 0.0
    seed: int = 0
    validate_every: int = 250  # steps
    checkpoint_every: int = 500  # steps
    divergence: float = 1.0  # nats above its best mean that end a run if the loss stays there; 0 lets it go on
    track: str = "none"  # tensorboard: curves and samples for it in the run folder
    patience: int = 0  # validations without a better one before the run stops; 0 never stops early

    def __post_init__(self) -> None:
        if not self.init:
            check_choice("model", self.model, self.models)
            if self.lora_rank:
                raise TinylmError(f"lora_rank={self.lora_rank} adds to a model that exists: say which, with --init")
        check_choice("optimizer", self.optimizer, tuple(OPTIMIZERS))
        check_choice("precision", self.precision, PRECISIONS)
        check_choice("schedule", self.schedule, tuple(SCHEDULES))
        check_choice("decay_shape", self.decay_shape, tuple(DECAY_SHAPES))
        check_choice("track", self.track, ("none", "tensorboard"))
        for names, low, end in RANGES:
            for name in names.split():
                check_range(name, getattr(self, name), low, end)
        if self.variational_dropout and self.model not in RECURRENT:
            raise TinylmError(f"variational_dropout is for {' and '.join(RECURRENT)}; model is {self.model!r}")
        if self.model not in RECURRENT and self.width % self.heads:
            raise TinylmError(f"width={self.width} does not divide into heads={self.heads}")
        if self.kv_heads and (self.model != "llama" or self.heads % self.kv_heads):
            raise TinylmError(f"kv_heads={self.kv_heads} is for llama, and divides heads={self.heads}")

    @property
    def warmup_steps(self) -> int:
        """The steps of the warm-up."""
        return round(self.warmup * self.steps)


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise TinylmError for a value that is not among the choices."""
    if value not in choices:
        raise TinylmError(f"{name} is {value!r}{nearest(value, choices)}")


def check_range(name: str, value: float, low: float, end: float) -> None:
    """Raise TinylmError for a value outside low <= value < end."""
    if not low <= value < end:
        limits = f"at least {low}" if end == INFINITY else f"{low} <= {name} < {end}"
        raise TinylmError(f"{name} is {value}, expected {limits}")


# What an optimizer brings along: stronger than a preset, weaker than what the user says. Rates and decays are the best
# of a few on 300 steps of the default run (benchmarks/bench_optimizers.py).
OPTIMIZER_SETTINGS: dict[str, dict[str, Any]] = {
    "muon": {"learning_rate": 1e-2, "final_learning_rate": 3e-4, "beta1": 0.95},
    "lion": {"learning_rate": 1e-3, "final_learning_rate": 3e-5, "weight_decay": 0.3},
    "adafactor": {"learning_rate": 3e-2, "final_learning_rate": 1e-3},
    "adam": {"weight_decay": 0.0},
    "rmsprop": {"learning_rate": 1e-3, "final_learning_rate": 3e-5, "weight_decay": 0.0},
    "adagrad": {"learning_rate": 1e-2, "final_learning_rate": 3e-4, "weight_decay": 0.0},
    "sgd": {"learning_rate": 0.1, "final_learning_rate": 3e-3, "weight_decay": 0.0},
}


# The same for LoRA. Source: Hu et al. 2021, arXiv:2106.09685, table 11 (GPT-2).
LORA_SETTINGS: dict[str, Any] = {"learning_rate": 2e-4}


def read_settings(kind: type[TrainSettings], layers: Iterable[Mapping[str, Any]]) -> TrainSettings:
    """The settings after each layer has overridden those before it; texts are read as what the setting is.

    Raises TinylmError for a name that does not exist, with the nearest that does, and for a value that does not fit.
    """
    types_ = typing.get_type_hints(kind)
    hints = {field.name: types_[field.name] for field in dataclasses.fields(kind)}
    chosen: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            if name not in hints:
                raise TinylmError(f"unknown setting {name!r}{nearest(name, hints)}")
            chosen[name] = _read_value(name, value, hints[name])
    return kind(**chosen)


def read_setting(settings: TrainSettings, name: str, value: Any) -> Any:
    """A value of one setting, read from a text where it is one. Raises TinylmError where it does not fit its type."""
    return _read_value(name, value, typing.get_type_hints(type(settings))[name])


def _read_value(name: str, value: Any, hint: Any) -> Any:
    if isinstance(hint, types.GenericAlias):
        kind = typing.get_args(hint)[0]
        # The name of a file may hold a comma.
        values = value if isinstance(value, list | tuple) else (value,) if name == "data" else str(value).split(",")
        return tuple(str(item) if kind is str else _read_value(name, item, kind) for item in values)
    try:
        if hint is str and isinstance(value, PathLike):
            return str(value)
        if hint is bool and isinstance(value, str):
            return {"true": True, "false": False}[value.lower()]
        if hint is float and type(value) is int:
            return float(value)
        if isinstance(value, str) and hint in (int, float):
            value = hint(value)
        if hint is float and value != value:
            raise ValueError
    except (KeyError, ValueError):
        raise TinylmError(f"{name} is {value!r}, expected {hint.__name__}") from None
    if type(value) is not hint:
        raise TinylmError(f"{name} is {value!r}, expected {hint.__name__}")
    return value


def read_settings_file(path: str | Path) -> dict[str, Any]:
    """The settings in a TOML or JSON file. Raises FileFormatError where it is neither."""
    file = Path(path)
    if file.suffix == ".toml":
        try:
            return tomllib.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise FileFormatError(file, "there is no such file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileFormatError(file, f"malformed TOML: {error}") from None
    if file.suffix != ".json":
        raise FileFormatError(file, "expected a name that ends in .toml or .json")
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise FileFormatError(file, f"expected an object of settings, received {type(settings).__name__}")
    return settings


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """{"width": "256"} from ["width=256"]. Raises TinylmError for anything without a name and "="."""
    result = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not (name and equals):
            raise TinylmError(f"--set takes name=value, received {assignment!r}")
        result[name.strip()] = value.strip()
    return result


def settings_to_json(settings: TrainSettings) -> dict[str, Any]:
    """What `resolve_settings` reads back; without what an `init` brings along."""
    fields = json.loads(json.dumps(dataclasses.asdict(settings)))
    left_out = [name for name in OF_NEW_MODELS if name != "model"] if settings.init else []
    return {name: value for name, value in fields.items() if name not in left_out}
