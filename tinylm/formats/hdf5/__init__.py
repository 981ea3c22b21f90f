"""HDF5 as Keras writes it, read without its library, in bounded time and memory."""

from .reading import Dataset, Group, read_hdf5

__all__ = ["Dataset", "Group", "read_hdf5"]
