"""Arrays that lie packed: 16-bit floats, and the blocks of 8 to 4 bits that GGUF files hold; one class a format.

`PACKED` has the classes by the names of their formats. Arithmetic needs a kernel that takes them, such as `linear`, or
`dequantize`. `Interleaved` is a matrix in the order in which products read it fastest.
"""

from .base import PACKED, Packed
from .bfloat16 import BF16
from .blocks_of_32 import Q4_0, Q4_1, Q5_0, Q5_1, Q8_0
from .blocks_of_256 import Q4_K, Q5_K, Q6_K
from .float16 import F16
from .interleaved import Interleaved
from .rows import INT8

__all__ = [
    "BF16",
    "F16",
    "INT8",
    "PACKED",
    "Q4_0",
    "Q4_1",
    "Q4_K",
    "Q5_0",
    "Q5_1",
    "Q5_K",
    "Q6_K",
    "Q8_0",
    "Interleaved",
    "Packed",
]
