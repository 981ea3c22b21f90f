"""lm-evaluation-harness on whatever `tinylm.load` opens: its tasks, and those that a YAML file describes.

    python -m tinylm.evaluation_harness --model_args path=runs/NAME --include_path FOLDER --tasks NAME

is its own command with this model; from Python, `lm_eval.simple_evaluate(HarnessLM("runs/NAME"), tasks=[...])`. The
extra `harness` brings it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from tqdm import tqdm

from .errors import TinylmError
from .extras import import_extra
from .inference import first_ids, log_softmax
from .lm import load

__all__ = ["HarnessLM", "main"]

PURPOSE = "tinylm.evaluation_harness"
_base: Any = import_extra("lm_eval.api.model", PURPOSE)
_registry: Any = import_extra("lm_eval.api.registry", PURPOSE)
_utils: Any = import_extra("lm_eval.utils", PURPOSE)
_models: Any = import_extra("lm_eval.models.utils", PURPOSE)

MOST_TOKENS = 256  # of a text, where a task does not say: as the harness has it for transformers' models
LONGEST = 2048  # tokens of a window of a model without a limit: as above


class HarnessLM(_base.TemplateLM):
    """A causal language model for the harness, which knows it as "tinylm". path: what `tinylm.load` opens.

    Texts become tokens as in the harness' models of transformers, whose loglikelihoods these are.
    """

    def __init__(self, path: str, batch_size: int = 16, max_batch_size: Any = None, device: Any = None):
        super().__init__()
        self.lm, self.batch_size = load(path), int(batch_size)  # the last two are what the command passes to all models
        self._model = self.lm.decoder
        if not hasattr(self._model, "last_logits"):
            raise TinylmError(
                f"{path}: {self._model.architecture} does not continue a text, as the harness' tasks need"
            )
        self.max_length = self._model.context or LONGEST

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text; where there is none, what one begins with."""
        end = self.lm.tokenizer.end_of_text
        return first_ids(self._model, self.lm.tokenizer)[0] if end is None else end

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that nothing else does."""
        begin = self._model.config.bos_token_id
        return self.eot_token_id if begin is None else begin

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """The tokens of a text, without special ones around it."""
        return self.lm.tokenizer.encode(string).tolist()

    def _loglikelihood_tokens(self, requests: Sequence[Any], disable_tqdm: bool = False, **kwargs: Any) -> list[Any]:
        """ln p of each continuation after its context, and whether greedy decoding would write it."""
        found = []
        for request, context, continuation in tqdm(requests, disable=disable_tqdm):
            found.append(self._score(context, continuation))
            if request is not None:
                self.cache_hook.add_partial("loglikelihood", request, found[-1])
        return found

    def _score(self, context: list[int], continuation: list[int]) -> tuple[float, bool]:
        ids = np.array([*context, *continuation])[-(self.max_length + 1) :]
        targets = ids[-len(continuation) :]
        logits = self._model.last_logits(ids[None, :-1], None, len(targets))[0]
        scores = np.take_along_axis(log_softmax(logits), targets[:, None], axis=-1)
        return float(scores.sum()), bool((logits.argmax(axis=-1) == targets).all())

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        """ln p of each text, in windows of the model's context that predict each token once."""
        found = []
        for (text,) in tqdm([request.args for request in requests], disable=disable_tqdm):
            windows = [(None, *pair) for pair in self._windows(text)]
            found.append(sum(score for score, _ in self._loglikelihood_tokens(windows, disable_tqdm=True)))
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), found[-1])
        return found

    def _windows(self, text: str) -> Iterator[tuple[list[int], list[int]]]:
        cut = _utils.get_rolling_token_windows(self.tok_encode(text), self.prefix_token_id, self.max_length, 1)
        return map(_utils.make_disjoint_window, cut)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context, up to a text that shall end it."""
        found: list[str] = []
        asked = [request.args for request in requests]
        for first in tqdm(range(0, len(asked), self.batch_size), disable=disable_tqdm):
            batch = asked[first : first + self.batch_size]
            each = [_settings(how) for _, how in batch]
            prompts: Any = [self._prompt(context, how) for (context, _), how in zip(batch, each, strict=True)]
            found += [done.text for done in self.lm.complete(prompts, each=each)]
            for request, text in zip(batch, found[first:], strict=True):
                self.cache_hook.add_partial("generate_until", request, text)
        return found

    def _prompt(self, context: str, settings: dict[str, Any]) -> list[int]:
        """The tokens of a context, without so many at its beginning that what is written has room."""
        return self.tok_encode(context)[-max(self.max_length - settings["max_tokens"], 1) :]

    @property
    def tokenizer_name(self) -> str:
        """By which requests are kept apart in a cache."""
        return repr(self.lm.tokenizer)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's source, where the model has one."""
        return self.lm.tokenizer.config.chat_template if chat_template else None

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """A conversation as the model's own template writes it down."""
        return self.lm.chat_template.render(chat_history, add_generation_prompt=add_generation_prompt)


def _settings(how: dict[str, Any]) -> dict[str, Any]:
    """The settings of generation under our names; greedy, unless the task wants samples."""
    own = _models.normalize_gen_kwargs(how, MOST_TOKENS)
    usual = {"temperature": 1.0 if own.pop("do_sample") else 0.0}
    stop = [text for text in own.pop("until") if text]
    return usual | {"stop": stop, "max_tokens": own.pop("max_gen_toks"), **own}


_registry.register_model("tinylm")(HarnessLM)


def main() -> None:
    """The harness' own command, with this model."""
    sys.argv[1:1] = ["run", "--model", "tinylm"]
    import_extra("lm_eval.__main__", PURPOSE).cli_evaluate()


if __name__ == "__main__":
    main()
