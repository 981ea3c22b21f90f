"""Matrices of signed bytes with a scale for each row: in a file two tensors, `X.weight` in I8 and `X.scale` in F32."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from tinylm.errors import TinylmError
from tinylm_kernels.packed import INT8

from ..tensors import BYTE_ROWS, StoredTensor, Tensors

__all__ = ["apart", "together"]


def _scale(name: str) -> str:
    return name.removesuffix("weight") + "scale"


def apart(tensors: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The tensors that a file holds for these."""
    stored: dict[str, StoredTensor] = {}
    for name, tensor in tensors.items():
        if tensor.dtype == BYTE_ROWS:
            stored[name] = StoredTensor(tensor.shape, "int8", partial(_codes, tensor))
            stored[_scale(name)] = StoredTensor(tensor.shape[:1], "float32", partial(_scales, tensor))
        else:
            stored[name] = tensor
    return stored


def together(tensors: Tensors) -> dict[str, StoredTensor]:
    """The tensors that those of a file make up. Raises TinylmError where a scale does not fit."""
    stored = {name: tensors.stored(name) for name in tensors}
    for name, codes in list(stored.items()):
        if codes.dtype != "int8" or _scale(name) not in stored:
            continue
        scales = stored.pop(_scale(name))
        if len(codes.shape) != 2 or scales.shape != codes.shape[:1] or scales.dtype != "float32":
            raise TinylmError(
                f"the tensor {name!r:.80} of int8 {codes.shape} has scales of {scales.dtype} {scales.shape}; "
                f"expected a matrix and a float32 for each row"
            )
        stored[name] = StoredTensor(codes.shape, BYTE_ROWS, partial(_rows, codes, scales))
    return stored


def _codes(tensor: StoredTensor) -> np.ndarray:
    return _made(tensor).blocks[..., 0].view(np.int8)


def _scales(tensor: StoredTensor) -> np.ndarray:
    return _made(tensor).scales


def _made(tensor: StoredTensor) -> INT8:
    rows = tensor.make()
    assert isinstance(rows, INT8)
    return rows


def _rows(codes: StoredTensor, scales: StoredTensor) -> INT8:
    bytes_, floats = codes.make(), scales.make()
    assert isinstance(bytes_, np.ndarray)
    assert isinstance(floats, np.ndarray)
    return INT8(bytes_.view(np.uint8)[..., None], floats)
