"""What config.json says of the labels that a model gives to texts."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LabelSettings"]


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """The settings of labels, under Hugging Face's names."""

    id2label: dict | None = None  # the names of the labels; two where None
    label2id: dict | None = None
    problem_type: str | None = None  # see `label_loss`

    @property
    def labels(self) -> int:
        """How many there are."""
        return 2 if self.id2label is None else len(self.id2label)

    @property
    def label_names(self) -> list[str]:
        """Their names, in order."""
        if self.id2label is None:
            return [f"LABEL_{number}" for number in range(self.labels)]
        return [str(self.id2label[id]) for id in sorted(self.id2label, key=int)]
