"""From a name, a class or an instance to an instance: how losses, metrics and optimizers are chosen."""

from __future__ import annotations

import difflib
from typing import Any

from tinylm.errors import TinylmError

__all__ = ["Registry"]


class Registry:
    """The classes of one kind by their names. kind: for messages."""

    def __init__(self, kind: str, classes: dict[str, Any]):
        self.kind, self.classes = kind, classes

    def get(self, identifier: Any, base: type) -> Any:
        """The instance that `identifier` is or names. Raises TinylmError with the nearest names otherwise."""
        if isinstance(identifier, base):
            return identifier
        if isinstance(identifier, type) and issubclass(identifier, base):
            return identifier()
        name = identifier.lower() if isinstance(identifier, str) else None
        if name in self.classes:
            return self.classes[name]()
        near = difflib.get_close_matches(str(identifier), self.classes, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the choices are {', '.join(self.classes)}"
        raise TinylmError(f"cannot interpret {self.kind} {identifier!r}; {hint}")
