"""Examples with named fields, for tasks: read from any usual format, checked, split and kept on disk."""

from .opening import make_records, open_records
from .order import EpochOrder
from .passages import Passage, read_passages
from .records import Records

__all__ = ["EpochOrder", "Passage", "Records", "make_records", "open_records", "read_passages"]
