"""Reading: answers to questions, marked in a context."""

from .kind import Reading, ReadingSettings
from .task import ReadingTask, mark_answers

__all__ = ["Reading", "ReadingSettings", "ReadingTask", "mark_answers"]
