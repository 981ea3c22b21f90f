"""What a program is: a table of int64 that says what to compute, from where to where.

A program is a list of steps. In each, threads take parts of the same work; between steps they meet. A step prepares a
row for products (a norm or an activation; each thread for itself, which costs less than to meet once more) and has
products with one to some matrices, or it is the attention of a layer. Addresses are in bytes; of what they name the
caller keeps the memory.
"""

from __future__ import annotations

__all__ = [
    "ADD",
    "ATTEND",
    "BIAS",
    "COLUMNS",
    "COPY",
    "GELU",
    "GELU_EXACT",
    "GROUPS",
    "HEADS",
    "HOW",
    "KEYS_AT",
    "KEY_WIDTH",
    "KIND",
    "LAYER_NORM",
    "MULTIPLY",
    "NORM_BIAS",
    "NORM_WEIGHT",
    "OPERATION",
    "OUTPUTS",
    "PREPARE",
    "RELU",
    "RMS_NORM",
    "SILU",
    "SOURCE",
    "SOURCE_ROW",
    "SWIGLU",
    "TANH",
    "TARGET",
    "TARGET_ROW",
    "TURNED",
    "VALUES_AT",
    "VALUE_WIDTH",
    "WANTS",
    "WEIGHTS",
    "WEIGHTS_ROW",
    "WIDTH",
    "WINDOW",
]

# The columns of a row of the table; what an operation has not is 0.
COLUMNS = 13
OPERATION, SOURCE, SOURCE_ROW, TARGET, TARGET_ROW = range(5)
PREPARE, MULTIPLY, ATTEND = range(3)

# PREPARE: WIDTH floats; the address of a norm's weight and bias; WANTS: a bit for each way in which
# products want them (`packed.activations`). Its number is the eps of a norm.
HOW, WIDTH, NORM_WEIGHT, NORM_BIAS, WANTS = range(5, 10)
COPY, RMS_NORM, LAYER_NORM, SWIGLU, SILU, GELU, GELU_EXACT, RELU, TANH = range(9)

# MULTIPLY, what the last PREPARE has prepared, with a matrix: its format (`packed.dots.KINDS`), address and bytes of a
# row; ADD: 1 adds to the target, 0 overwrites it.
KIND, WEIGHTS, WEIGHTS_ROW, OUTPUTS, BIAS, ADD = range(5, 11)

# ATTEND, from queries, keys and values beside each other: H heads, G heads of keys, D and E; TURNED: columns of a head
# that are turned; WINDOW: so many tokens are seen, 0 for all; KEYS_AT, VALUES_AT: where the layer's lie in a cache. Its
# number is the scale of the scores.
HEADS, GROUPS, KEY_WIDTH, VALUE_WIDTH, TURNED, WINDOW, KEYS_AT, VALUES_AT = range(5, 13)
