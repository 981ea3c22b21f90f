"""Text from text: what a language model with its tokenizer writes, whole or piece by piece, also without blocking."""

from __future__ import annotations

import dataclasses
import json
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np

from tinylm.errors import TinylmError
from tinylm.formats import GenerationConfig
from tinylm.models import CausalLanguageModel, EncoderDecoder
from tinylm.text import MarianTokenizer, PipelineTokenizer, Tokenizer

from .batching import BatchWriter
from .completion import Completion, GenerationSettings
from .decoder import Decoder
from .engine import Engine
from .generation import first_ids
from .grammar import Constraint, TokenTable, parse_json_schema, parse_regex
from .reading import Reader
from .speculation import Drafter, DraftModel, PromptLookup, speculate
from .target_engine import TargetEngine
from .targets import target_start
from .writing import Stream, Writer

__all__ = ["TextGenerator", "iterate_in_thread"]


MOST_GRAMMARS = 16  # that are kept


class TextGenerator:
    """Generates text. The settings of all methods are those of `GenerationSettings`, by name.

    Several threads may generate at once: nothing of a request is kept in the model. Whoever sets `cancel` ends a text
    before its next token, from any thread. Raises TinylmError for a setting that does not exist or is outside its
    range, for a character that the tokenizer does not know, and for a source longer than the context.
    """

    @property
    def model(self) -> Any:
        """The Module."""
        raise NotImplementedError

    @property
    def decoder(self) -> Any:
        """What generates: the Module, or an engine in its place."""
        return self.model

    @property
    def tokenizer(self) -> Tokenizer:
        """Between texts and ids."""
        raise NotImplementedError

    @property
    def generation_config(self) -> GenerationConfig:
        """The tokens that begin and end a text."""
        raise NotImplementedError

    @property
    def task(self) -> Mapping[str, Any]:
        """What the model was trained for, as its tinylm.json says."""
        raise NotImplementedError

    def stream(
        self,
        prompt: str | Sequence[int],
        *,
        reader: Reader | None = None,
        choice: int = 0,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> Stream:
        """The text that follows the prompt, piece by piece, never half a character; see `Stream`.

        An empty prompt starts a text; see `first_ids`. To an encoder-decoder the prompt is the source, and the text its
        target; see `target_start`. The prompt may be the ids of its tokens. reader: has read some of it already.
        choice: see `Sampler`.
        """
        made, writer = self._begin(prompt, GenerationSettings.of(settings), choice=choice, cancel=cancel)
        return self._stream(reader or made, writer, release=reader is None)

    @overload
    def generate(self, prompt: str, *, cancel: threading.Event | None = None, **settings: Any) -> str: ...
    @overload
    def generate(
        self, prompt: Sequence[str], *, cancel: threading.Event | None = None, **settings: Any
    ) -> list[str]: ...
    def generate(
        self, prompt: str | Sequence[str], *, cancel: threading.Event | None = None, **settings: Any
    ) -> str | list[str]:
        """The text that follows the prompt; of a list of prompts, those that follow each."""
        done = self.complete(prompt, cancel=cancel, **settings)
        return done.text if isinstance(done, Completion) else [completion.text for completion in done]

    @overload
    def complete(
        self, prompt: str, *, n: None = None, cancel: threading.Event | None = None, **settings: Any
    ) -> Completion: ...
    @overload
    def complete(
        self,
        prompt: str | Sequence[str],
        *,
        n: int | None = None,
        each: Sequence[Mapping[str, Any]] | None = None,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> list[Completion]: ...
    def complete(
        self,
        prompt: str | Sequence[str],
        *,
        n: int | None = None,
        each: Sequence[Mapping[str, Any]] | None = None,
        cancel: threading.Event | None = None,
        **settings: Any,
    ) -> Completion | list[Completion]:
        """What follows the prompt, with its tokens, their log-probabilities and why it ended.

        Of several prompts, or n continuations of each, a list: the n of the first prompt, those of the second, ... They
        are written side by side; see `BatchWriter`. each: settings of each prompt, which go before those of all.
        """
        if n is not None and n < 1:
            raise TinylmError(f"n is {n}, expected at least 1")
        prompts = [prompt] if isinstance(prompt, str) else prompt
        if each is not None and len(each) != len(prompts):
            raise TinylmError(f"each holds settings for {len(each)} prompts, expected {len(prompts)}")
        own = [GenerationSettings.of({**settings, **more}) for more in each or [{}] * len(prompts)]
        begun = [
            self._begin(text, chosen, choice=choice, cancel=cancel)
            for text, chosen in zip(prompts, own, strict=True)
            for choice in range(n or 1)
        ]
        self._write_all(begun)
        done = [writer.completion() for _, writer in begun]
        return done[0] if isinstance(prompt, str) and n is None else done

    def astream(self, prompt: str, **settings: Any) -> AsyncIterator[str]:
        """`stream` for asyncio: the model works in a thread, until the iterator is closed or the task cancelled."""
        return iterate_in_thread(self.stream, prompt, **settings)

    async def agenerate(self, prompt: str, **settings: Any) -> str:
        """`generate` for asyncio; see `astream`."""
        return "".join([piece async for piece in self.astream(prompt, **settings)])

    def _begin(
        self,
        prompt: str | Sequence[int],
        settings: GenerationSettings,
        *,
        choice: int = 0,
        cancel: threading.Event | None = None,
    ) -> tuple[Reader, Writer]:
        if self._conditional:
            text = prompt if isinstance(prompt, str) else self.tokenizer.decode(prompt)
            model: Decoder = self.decoder.given(self._source_ids(text)[None])
            ids, most = target_start(model, self.generation_config, settings.max_tokens)
            settings = dataclasses.replace(settings, max_tokens=most)
        else:
            model = self._causal
            ids = self._prompt_ids(prompt) if len(prompt) else first_ids(model, self.tokenizer)
        writer = self._writer(model, ids, settings, continues=model is self.decoder, choice=choice, cancel=cancel)
        return Reader(model, use_cache=settings.use_cache), writer

    def _writer(self, model: Decoder, ids: list[int], settings: GenerationSettings, **options: Any) -> Writer:
        """A writer that knows which tokens end a text, those of the model unless told, and which are never written."""
        bias = {**settings.logit_bias, **dict.fromkeys(self.generation_config.banned, -math.inf)}
        options = {"end_ids": self._end_ids(model), "constraint": self._constraint(settings), **options}
        return Writer(ids, self.tokenizer, dataclasses.replace(settings, logit_bias=bias), **options)

    def _constraint(self, settings: GenerationSettings) -> Constraint | None:
        """The grammar that the settings ask for. The last ones are kept: what is known of their states stays known."""
        if settings.regex is None and settings.json_schema is None:
            return None
        key = settings.regex, json.dumps(settings.json_schema, default=repr)
        if key not in self._constraints:
            schema = settings.json_schema
            grammar = parse_regex(settings.regex) if settings.regex is not None else parse_json_schema(schema)
            while len(self._constraints) >= MOST_GRAMMARS:
                self._constraints.pop(next(iter(self._constraints), key), None)
            self._constraints[key] = Constraint(grammar, self._token_table)
        return self._constraints[key]

    @cached_property
    def _token_table(self) -> TokenTable:
        return TokenTable(self.tokenizer)

    @cached_property
    def _constraints(self) -> dict[tuple[str | None, str], Constraint]:
        return {}

    def _end_ids(self, model: Decoder) -> frozenset[int]:
        return frozenset(self.generation_config.eos_token_id) or model.end_ids

    def _stream(self, reader: Reader, writer: Writer, *, release: bool = False) -> Stream:
        """release: nobody else uses the reader; at the end the model may keep what it has read."""
        drafter = self._drafter(writer.settings)
        pieces = speculate(reader, writer, drafter) if drafter else _write(reader, writer)
        return Stream(writer, _released(reader, pieces) if release else pieces)

    def _write_all(self, begun: Sequence[tuple[Reader, Writer]]) -> None:
        """Write texts to their ends, those side by side that can be."""
        decoder = self.decoder.decoder if isinstance(self.decoder, TargetEngine) else self.decoder
        batch = BatchWriter(decoder) if len(begun) > 1 and not isinstance(decoder, EncoderDecoder) else None
        for reader, writer in begun:
            if batch is not None and writer.settings.use_cache and writer.settings.speculate is None:
                batch.add(writer, reader if self._conditional else None)
            else:
                for _ in self._stream(reader, writer, release=True):
                    pass
        while batch:
            batch.step()

    def _drafter(self, settings: GenerationSettings) -> Drafter | None:
        """Who guesses, as the settings say. Raises TinylmError for what cannot."""
        draft = settings.speculate
        if draft is None:
            return None
        if draft == "lookup":
            return PromptLookup()
        if not isinstance(draft, TextGenerator):
            raise TinylmError(f'speculate is {draft!r:.60}, expected "lookup" or a model from tinylm.load')
        if self._conditional:
            raise TinylmError(f'{self.decoder.architecture} takes no model that guesses, only speculate="lookup"')
        if draft._causal.config.vocab_size != self.decoder.config.vocab_size or (
            draft.tokenizer is not self.tokenizer and draft.tokenizer.to_json() != self.tokenizer.to_json()
        ):
            raise TinylmError("speculate: the model that guesses needs the vocabulary of the one that writes")
        return DraftModel(Reader(draft._causal))

    @property
    def _conditional(self) -> bool:
        """Whether texts are the targets of sources."""
        return isinstance(self.decoder, (EncoderDecoder, TargetEngine))

    @property
    def _causal(self) -> Decoder:
        """The decoder, where it predicts each token from those before it; TinylmError where it does not."""
        decoder = self.decoder
        if not isinstance(decoder, (CausalLanguageModel, Engine)):
            raise TinylmError(f"{decoder.architecture} does not continue a text; expected a causal language model")
        return decoder

    def _source_ids(self, text: str) -> np.ndarray:
        """What the encoder of an encoder-decoder reads: a text with the special tokens around it."""
        ids = self._encode(text)
        if isinstance(self.tokenizer, (MarianTokenizer, PipelineTokenizer)):
            ids = self.tokenizer.inputs(text, truncation=None, padding=None).ids
        context = self.decoder.context
        if context is not None and len(ids) > context:
            raise TinylmError(f"the source has {len(ids)} tokens, {self.decoder.architecture} reads {context} at most")
        return ids

    def _prompt_ids(self, prompt: str | Sequence[int]) -> list[int]:
        if isinstance(prompt, str):
            return self._encode(prompt).tolist()
        self.tokenizer.decode(prompt)  # which refuses ids that do not exist
        return [int(id) for id in prompt]

    def _encode(self, text: str) -> np.ndarray:
        ids = self.tokenizer.encode(text)
        if not len(ids):
            raise TinylmError("the text is empty; give at least one character")
        return ids


def _released(reader: Reader, pieces: Iterator[str]) -> Iterator[str]:
    """The pieces; at their end, or when nobody wants more, the reader lets go of what it has read."""
    try:
        yield from pieces
    finally:
        reader.release()


def _write(reader: Reader, writer: Writer) -> Iterator[str]:
    """The pieces of the text, token by token."""
    while writer.finish_reason is None:
        yield writer.take(reader.logits(writer.ids)[-1])


async def iterate_in_thread(start: Callable[..., Stream], *arguments: Any, **settings: Any) -> AsyncIterator[str]:
    """The pieces of the stream that `start` gives, each made in a thread, so that the event loop goes on."""
    import asyncio  # which whoever waits for this has loaded, and nobody else needs

    cancel = threading.Event()
    try:
        stream = await asyncio.to_thread(start, *arguments, cancel=cancel, **settings)
        while (piece := await asyncio.to_thread(next, stream, None)) is not None:
            yield piece
    finally:
        cancel.set()
