"""Conversations: how they are written down for a model, and kept within its context."""

from .conversation import Conversation
from .generator import ChatGenerator
from .plain import PlainTemplate
from .template import ChatTemplate, Rendered

__all__ = ["ChatGenerator", "ChatTemplate", "Conversation", "PlainTemplate", "Rendered"]
