"""Conversations: how they are written down for a model, and kept within its context."""

from .conversation import Conversation
from .generator import ChatGenerator
from .learning import DEFAULT_TEMPLATE, answered_spans, conversation_ids
from .plain import PlainTemplate, find_template
from .template import ChatTemplate, Rendered

__all__ = [
    "DEFAULT_TEMPLATE",
    "ChatGenerator",
    "ChatTemplate",
    "Conversation",
    "PlainTemplate",
    "Rendered",
    "answered_spans",
    "conversation_ids",
    "find_template",
]
