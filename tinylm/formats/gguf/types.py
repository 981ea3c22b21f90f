"""The numbers by which GGUF names the types of its values and of its tensors.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; the tensor types are `enum ggml_type`.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "ARRAY",
    "BOOL",
    "MAGIC",
    "NUMBERS",
    "NUMPY_TENSORS",
    "PACKED_TENSORS",
    "STRING",
    "TENSOR_TYPES",
    "UNREAD_TENSORS",
]

MAGIC = b"GGUF"

# Values of the metadata.
NUMBERS = {
    0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "<u1", 10: "<u8", 11: "<i8", 12: "<f8",
}  # fmt: skip
BOOL, STRING, ARRAY = 7, 8, 9

# Tensors: those NumPy has, those of `tinylm_kernels.packed`, and those that are refused by name.
NUMPY_TENSORS = {
    number: np.dtype(code)
    for number, code in {0: "<f4", 1: "<f2", 24: "i1", 25: "<i2", 26: "<i4", 27: "<i8", 28: "<f8"}.items()
}
PACKED_TENSORS = {
    2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 12: "q4_k", 13: "q5_k", 14: "q6_k", 30: "bf16",
}  # fmt: skip
# By number, the dtype of NumPy's or the packed format.
TENSOR_TYPES = {**{number: dtype.name for number, dtype in NUMPY_TENSORS.items()}, **PACKED_TENSORS}
UNREAD_TENSORS = {
    4: "Q4_2", 5: "Q4_3", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0",
    39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
