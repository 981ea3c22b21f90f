"""Classification: labels for texts and for pairs of texts."""

from .kind import Classification, ClassificationSettings
from .task import Examples, LabelTask

__all__ = ["Classification", "ClassificationSettings", "Examples", "LabelTask"]
