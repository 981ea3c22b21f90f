"""Using a model: generation, sampling, scoring. Floor 5."""

from .answer_spans import AnswerSpan, answer_from_context, is_reader, question_windows, reader_inputs, span_logits
from .batching import BatchWriter
from .beam import BeamSettings, Hypothesis, beam_search
from .beam_generator import BeamGenerator
from .cache import DecodeCache, SequenceCache
from .chat import ChatGenerator, ChatTemplate, Conversation, PlainTemplate, answered_spans, conversation_ids
from .classification import Labelled, class_probabilities, classifier_inputs, classify, encode_text, is_classifier
from .completion import Candidate, Completion, GenerationSettings, TokenScore, Usage
from .decoder import Decoder
from .embedder import Embedder
from .engine import Engine, open_engine
from .following import ModuleEngine
from .generation import first_ids, generate, log_probabilities, mean_loss, next_logits
from .greedy import greedy
from .logits import log_softmax, probabilities
from .masked import fill_masks, masked_head, masked_logits
from .pairs import answer_sources, find_format, write_targets
from .prompts import PairFormat, prompt_fields
from .reading import Reader, window_start
from .sampling import Sampler, Sampling
from .search import PROBE, Found, SearchIndex, passage_windows
from .sentence_vectors import encoder_rows, encoder_tokenizer, pooled_vectors, sentence_vectors, unit
from .stopping import StopStrings
from .target_engine import TargetEngine
from .targets import target_start
from .text_generator import TextGenerator
from .writing import Stream, Writer, score_token

__all__ = [
    "PROBE",
    "AnswerSpan",
    "BatchWriter",
    "BeamGenerator",
    "BeamSettings",
    "Candidate",
    "ChatGenerator",
    "ChatTemplate",
    "Completion",
    "Conversation",
    "DecodeCache",
    "Decoder",
    "Embedder",
    "Engine",
    "Found",
    "GenerationSettings",
    "Hypothesis",
    "Labelled",
    "ModuleEngine",
    "PairFormat",
    "PlainTemplate",
    "Reader",
    "Sampler",
    "Sampling",
    "SearchIndex",
    "SequenceCache",
    "StopStrings",
    "Stream",
    "TargetEngine",
    "TextGenerator",
    "TokenScore",
    "Usage",
    "Writer",
    "answer_from_context",
    "answer_sources",
    "answered_spans",
    "beam_search",
    "class_probabilities",
    "classifier_inputs",
    "classify",
    "conversation_ids",
    "encode_text",
    "encoder_rows",
    "encoder_tokenizer",
    "fill_masks",
    "find_format",
    "first_ids",
    "generate",
    "greedy",
    "is_classifier",
    "is_reader",
    "log_probabilities",
    "log_softmax",
    "masked_head",
    "masked_logits",
    "mean_loss",
    "next_logits",
    "open_engine",
    "passage_windows",
    "pooled_vectors",
    "probabilities",
    "prompt_fields",
    "question_windows",
    "reader_inputs",
    "score_token",
    "sentence_vectors",
    "span_logits",
    "target_start",
    "unit",
    "window_start",
    "write_targets",
]
