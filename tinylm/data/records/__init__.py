"""Examples with named fields, for tasks: read from any usual format, checked, split and kept on disk."""

from .opening import make_records, open_records
from .order import EpochOrder
from .records import Records

__all__ = ["EpochOrder", "Records", "make_records", "open_records"]
