"""The weights of a model for decoding: as they lie in its file, or as its Module has them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tinylm.formats.source import ModelSource
from tinylm.models import CausalTransformer, Matrix, Stored
from tinylm.nn import Module
from tinylm_kernels.packed import F16, Packed

__all__ = ["file_matrices", "module_matrices"]


def module_matrices(model: Module) -> Callable[[str], Sequence[Matrix]]:
    """What `plan_decoding` asks for, from the parameters of a Module."""
    parameters = dict(model.named_parameters())
    return lambda name: [_as_matrix(parameters[name].data)]


def file_matrices(source: ModelSource, model: CausalTransformer) -> Callable[[str], Sequence[Matrix]]:
    """The same from a file, packed and mapped as it holds them; what lies the other way round there is copied."""
    tensors, names = source.checked_tensors(model), model.folder_names()

    def matrices(name: str) -> Sequence[Matrix]:
        stored = names[name]
        if stored.transposed and len(stored.names) == 1 and (as_ours := tensors[stored.names[0]].make_transposed):
            return [_as_matrix(as_ours())]
        parts = [tensors[part].make() for part in stored.names]
        if stored.transposed:
            return [_as_matrix(stored.join([_unpacked(part) for part in parts]))]
        return [_as_matrix(_by_kind(stored, part)) for part in parts]

    return matrices


def _by_kind(stored: Stored, part: Matrix) -> Matrix:
    """Rows that lie head by head put queries first, packed as they are."""
    if not stored.heads:
        return part
    order = np.arange(part.shape[0]).reshape(stored.heads, 3, -1).swapaxes(0, 1).reshape(-1)
    return part.take_rows(order) if isinstance(part, Packed) else part[order]


def _unpacked(part: Matrix) -> np.ndarray:
    return part.dequantize() if isinstance(part, Packed) else part


def _as_matrix(array: Matrix) -> Matrix:
    """Packed, or in float32 with contiguous rows; no copy where it is that."""
    if isinstance(array, Packed):
        return array
    if array.dtype == np.float16 and array.ndim == 2:
        return F16.of(np.ascontiguousarray(array))
    return np.ascontiguousarray(array, np.float32)
