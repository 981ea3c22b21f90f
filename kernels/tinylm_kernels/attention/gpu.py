"""Attention on the card, in tiles: its scores never exist at once."""

from ..arrays import array_module
from ..cuda import NUMBERS, Program, blocks_of, contiguous, deliver, integers, room_for
from .reference import attention, attention_backward

# Columns of a result that a lane has; 32 times as many are the widest of D and E.
PARTS = (1, 2, 4, 8)
PROGRAM = Program(__file__, "attention.cu", [{"PARTS": parts} for parts in PARTS])
# attention.cu's WARPS and R, a warp's rows.
WARP, WARPS = 32, 8
WIDEST = WARP * PARTS[-1]
# Bytes of shared memory that every card from sm_75 on gives to a block that asks for them.
SHARED = 64 * 1024


def _parts(*widths):
    return next((parts for parts in PARTS if WARP * parts >= max(widths)), None)


def _rows(parts):
    return WARPS * (2 if parts > 4 else 4)


def _fits(q, k, v, *rest, **settings):
    D, E = q.shape[3], v.shape[3]
    return max(D, E) <= WIDEST and _shared(_rows(_parts(D, E)) * D, D, E) <= SHARED


def _fits_backward(dy, q, k, v, *rest, **settings):
    D, E = q.shape[3], v.shape[3]
    return max(D, E) <= WIDEST and _shared(_rows(_parts(D, E)) * (D + E), D, E) <= SHARED


def _shared(own, D, E):
    """Bytes for the numbers of a block's own rows, and for a tile of each of the two others."""
    return 4 * (own + WARP * (D + 1 + E + 1))


def _sight(q, k, key_mask, bias, offsets):
    """The arguments that say who sees whom, up to `offsets`."""
    xp = array_module(q)
    if bias is not None:
        shape = (*q.shape[:3], k.shape[2])
        bias = xp.where(bias, 0.0, -xp.inf) if bias.dtype == bool else bias
        bias = contiguous(bias.astype("float32", copy=False))
        strides = [0 if n == 1 else s // bias.itemsize for n, s, _ in zip(bias.shape, bias.strides, shape, strict=True)]
    else:
        strides = [0, 0, 0, 0]
    mask = None if key_mask is None else contiguous(key_mask).view("uint8")
    return mask, bias, *strides, None if offsets is None else integers(offsets)


def _settings(q, causal, window, softcap, scale):
    left, right = (-1 if bound is None else bound for bound in window or (None, None))
    return causal, left, right, softcap or 0.0, q.shape[-1] ** -0.5 if scale is None else scale


@attention.implement("cuda", device="gpu", dtypes=NUMBERS, when=_fits)
def attention_cuda(
    q, k, v, key_mask=None, bias=None, offsets=None, *, causal, window=None, softcap=None, scale=None, out=None
):
    (B, H, T, D), (_, G, S, E) = q.shape, v.shape
    xp, parts = array_module(q), _parts(D, E)
    usable = out is not None and out.flags.c_contiguous
    y = out if usable else xp.empty((B, H, T, E), q.dtype)
    log_sum_exp = xp.empty((B, H, T), q.dtype)
    sight = _sight(q, k, key_mask, bias, offsets)
    settings = _settings(q, causal, window, softcap, scale)
    arrays = (*map(contiguous, (q, k, v)), *sight, y, log_sum_exp)
    PROGRAM.launch(
        "attention", (blocks_of(T, _rows(parts)), H, B), WARPS * WARP, *arrays, G, T, S, D, E, *settings,
        shared=_shared(_rows(parts) * D, D, E), defines={"PARTS": parts},
    )  # fmt: skip
    return deliver(y, out), log_sum_exp


@attention_backward.implement("cuda", device="gpu", dtypes=NUMBERS, when=_fits_backward)
def attention_backward_cuda(
    dy, q, k, v, y, log_sum_exp, key_mask=None, bias=None, offsets=None,
    *, causal, window=None, softcap=None, scale=None, out=None,
):  # fmt: skip
    (B, H, T, D), (_, G, S, E) = q.shape, v.shape
    parts = _parts(D, E)
    outs = out if out is not None else (None, None, None)
    dq, dk, dv = (room_for(o, x) for o, x in zip(outs, (q, k, v), strict=True))
    delta = (dy.astype("float32", copy=False) * y.astype("float32", copy=False)).sum(axis=-1)
    sight = _sight(q, k, key_mask, bias, offsets)
    arrays = (*map(contiguous, (dy, q, k, v, delta, log_sum_exp)), *sight)
    settings = (T, S, D, E, *_settings(q, causal, window, softcap, scale))
    how = {"shared": _shared(_rows(parts) * (D + E), D, E), "defines": {"PARTS": parts}}
    rows = _rows(parts)
    PROGRAM.launch(
        "attention_backward_queries", (blocks_of(T, rows), H, B), WARPS * WARP, *arrays, dq, G, *settings, **how
    )
    PROGRAM.launch(
        "attention_backward_keys", (blocks_of(S, rows), G, B), WARPS * WARP, *arrays, dk, dv, H, *settings, **how
    )
    return tuple(map(deliver, (dq, dk, dv), outs))
