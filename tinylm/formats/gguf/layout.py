"""Tensors between the layouts of GGUF and of a model folder: rows in another order, or transposed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from tinylm.errors import TinylmError
from tinylm_kernels.packed import Packed

from ..tensors import FORMATS, StoredArray, StoredTensor, unpacked
from .architectures import Architecture, RowOrder

__all__ = ["laid_out", "split_name"]


def split_name(name: str) -> tuple[str, str, str]:
    """ "blk.7.attn_q.weight": its pattern "blk.*.attn_q", the layer "7" and the suffix ".weight"."""
    path, dot, kind = name.rpartition(".")
    layer = re.search(r"(?<=\.)\d+(?=\.)", path)
    if layer is None:
        return path, "", dot + kind
    return path[: layer.start()] + "*" + path[layer.end() :], layer[0], dot + kind


def laid_out(
    tensor: StoredTensor,
    name: str,
    pattern: str,
    architecture: Architecture,
    settings: Mapping[str, Any],
    *,
    back: bool,
) -> StoredTensor:
    """A tensor of a model folder in GGUF's layout; back: the other way. Rows move packed as they are."""
    if pattern in architecture.transposed and len(tensor.shape) == 2:
        dtype = "float32" if tensor.dtype in FORMATS else tensor.dtype
        return StoredTensor(tensor.shape[::-1], dtype, lambda: unpacked(tensor.make()).T, tensor.make)
    order = architecture.row_orders.get(pattern)
    if order is None:
        return tensor
    heads = settings.get(order.heads) or settings[architecture.settings["attention.head_count"]]
    if type(heads) is not int or heads < 1 or not tensor.shape or tensor.shape[0] % (heads * order.parts):
        raise TinylmError(f"the tensor {name!r:.80} of shape {tensor.shape} does not divide into {heads!r:.40} heads")
    return dataclasses.replace(tensor, make=partial(_reordered, tensor, order, heads, back))


def _reordered(tensor: StoredTensor, order: RowOrder, heads: int, back: bool) -> StoredArray:
    index = order.in_folder(tensor.shape[0], heads)
    index = np.argsort(index) if back else index
    array = tensor.make()
    return array.take_rows(index) if isinstance(array, Packed) else array[index]
