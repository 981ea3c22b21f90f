"""What a program is: a table of int64 that says what to compute, from where to where.

A program is a list of steps. In each, threads take parts of the same work; between steps they meet. A step prepares a
row for products (a norm or an activation; each thread for itself, which costs less than to meet once more) and has
products with one to some matrices, or it is the attention of a layer, or a norm that takes the place of what it reads.
Addresses are in bytes; of what they name the caller keeps the memory.
"""

from __future__ import annotations

__all__ = [
    "ADD",
    "ATTEND",
    "BIAS",
    "BIASES_AT",
    "BIASES_LENGTH",
    "CACHE",
    "COLUMNS",
    "COPY",
    "GATED",
    "GELU",
    "GELU_EXACT",
    "GROUPS",
    "HEADS",
    "HOW",
    "KEYS_AT",
    "KEY_WIDTH",
    "KIND",
    "LAYER_NORM",
    "MEMORY",
    "MULTIPLY",
    "NORMALIZE",
    "NORM_BIAS",
    "NORM_WEIGHT",
    "OPERATION",
    "OTHER",
    "OTHER_LENGTH",
    "OUTPUTS",
    "POSITION",
    "PREPARE",
    "RELU",
    "REMEMBER",
    "RMS_NORM",
    "ROW_COLUMNS",
    "SILU",
    "SOURCE",
    "SOURCE_ROW",
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
COLUMNS = 16
OPERATION, SOURCE, SOURCE_ROW, TARGET, TARGET_ROW = range(5)
PREPARE, MULTIPLY, REMEMBER, ATTEND, NORMALIZE = range(5)

# PREPARE: WIDTH floats; the address of a norm's weight and bias; WANTS: a bit for each way in which products want them
# (`packed.activations`). Its number is the eps of a norm. NORMALIZE: the same, without WANTS, from source to target.
HOW, WIDTH, NORM_WEIGHT, NORM_BIAS, WANTS = range(5, 10)
COPY, RMS_NORM, LAYER_NORM, SILU, GELU, GELU_EXACT, RELU, TANH = range(8)
GATED = 16  # added to an activation: of the first WIDTH floats, times the next WIDTH

# MULTIPLY, what the last PREPARE has prepared, with a matrix: its format (`packed.dots.KINDS`), address and bytes of a
# row; ADD: 1 adds to the target, 0 overwrites it.
KIND, WEIGHTS, WEIGHTS_ROW, OUTPUTS, BIAS, ADD = range(5, 11)

# REMEMBER: keys and values join the cache, from queries, keys and values beside each other: H heads, G heads of keys, D
# and E; TURNED: columns of a head that are turned; KEYS_AT, VALUES_AT: where the layer's lie in a cache.
# ATTEND: the queries see them. WINDOW: so many tokens are seen, 0 for all; MEMORY: 1 where they see the tokens of
# another text instead, of which KEYS_AT and VALUES_AT are bytes for each token; BIASES_AT, BIASES_LENGTH: what is added
# to scores, (H, length) floats, the last of them for the token itself, those before it for the ones before; 0 for
# nothing. Its number is the scale of the scores.
HEADS, GROUPS, KEY_WIDTH, VALUE_WIDTH, TURNED, WINDOW, KEYS_AT, VALUES_AT, MEMORY, BIASES_AT, BIASES_LENGTH = range(
    5, 16
)

# The columns of the table of rows: the position of a token in its text; the addresses of the text's cache and of the
# other text that it sees, and how many tokens that has.
ROW_COLUMNS = 4
POSITION, CACHE, OTHER, OTHER_LENGTH = range(4)
