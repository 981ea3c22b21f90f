"""What a kernel says to arguments it does not take: the operation, what it received and what it expected."""

from __future__ import annotations

import numpy as np
import pytest

import tinylm_kernels as K


def f(*shape):
    return np.zeros(shape, np.float32)


def ids(*values, dtype=np.int64):
    return np.array(values, dtype)


Q, MASK = f(2, 3, 4, 5), np.ones((2, 4), bool)
LSE = f(2, 3, 4)
LSTM = (f(2, 7, 3), f(16, 3), f(16, 4), f(16), f(2, 4), f(2, 4))
LSTM_BACK = (f(2, 7, 4), f(2, 4), f(2, 4), *LSTM[:3], *LSTM[4:], f(2, 7, 4), f(2, 7, 16), f(2, 7, 4))
GRU = (f(2, 7, 3), f(12, 3), f(12, 4), f(12), f(12), f(2, 4))
GRU_BACK = (f(2, 7, 4), f(2, 4), *GRU[:3], GRU[5], f(2, 7, 4), f(2, 7, 12), f(2, 7, 4))
ADAM = {"lr": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.0, "step": 1}
DROP = {"rate": 0.1, "seed": 0, "step": 0, "site": 0}


def put(arrays, position, value):
    return (*arrays[:position], value, *arrays[position + 1 :])


# The call, the error, and what its message must contain beside the kernel's name.
BAD_CALLS = [
    (K.softmax, (f(2, 0),), {}, ValueError, r"x has shape \(2, 0\), expected at least one column"),
    (K.softmax, (f(),), {}, ValueError, "at least one column"),
    (K.softmax, (f(2, 3),), {"out": f(3, 2)}, ValueError, r"out has shape \(3, 2\), expected \(2, 3\)"),
    (K.softmax, (f(2, 3),), {"out": np.zeros((2, 3))}, TypeError, "out has dtype float64, expected float32"),
    (K.softmax_backward, (f(2, 3), f(3, 2)), {}, ValueError, r"dy has shape \(2, 3\) but y has \(3, 2\)"),
    (K.softmax_backward, (f(2, 3), f(2, 3)), {"out": f(2)}, ValueError, "out has shape"),
    (K.layer_norm, (f(2, 0), f(0), f(0)), {}, ValueError, "at least one column"),
    (K.layer_norm, (f(2, 3), f(2), f(3)), {}, ValueError, r"weight has shape \(2,\), expected \(3\)"),
    (K.layer_norm, (f(2, 3), f(3), f(1, 3)), {}, ValueError, r"bias has shape \(1, 3\)"),
    (K.layer_norm, (f(2, 3), f(3), f(3)), {"out": f(3)}, ValueError, "out has shape"),
    (K.layer_norm_backward, (f(2, 3), f(2, 4), f(4), f(2), f(2)), {}, ValueError, "dy has shape"),
    (K.layer_norm_backward, (f(2, 3), f(2, 3), f(2), f(2), f(2)), {}, ValueError, "weight has shape"),
    (K.layer_norm_backward, (f(2, 3), f(2, 3), f(3), f(3), f(2)), {}, ValueError, "mean has shape"),
    (K.layer_norm_backward, (f(2, 3), f(2, 3), f(3), f(2), f(2, 1)), {}, ValueError, "rstd has shape"),
    (K.rms_norm, (f(2, 0), f(0)), {}, ValueError, "at least one column"),
    (K.rms_norm, (f(2, 3), f(2)), {}, ValueError, r"weight has shape \(2,\), expected \(3\)"),
    (K.rms_norm, (f(2, 3), f(3)), {"out": f(3)}, ValueError, "out has shape"),
    (K.rms_norm_backward, (f(2, 3), f(2, 4), f(4), f(2)), {}, ValueError, "dy has shape"),
    (K.rms_norm_backward, (f(2, 3), f(2, 3), f(2), f(2)), {}, ValueError, "weight has shape"),
    (K.rms_norm_backward, (f(2, 3), f(2, 3), f(3), f(2, 1)), {}, ValueError, "rstd has shape"),
    (K.gelu, (f(2, 3),), {"out": f(3)}, ValueError, r"out has shape \(3,\), expected \(2, 3\)"),
    (K.gelu_backward, (f(2), f(3)), {}, ValueError, r"dy has shape \(2,\) but x has \(3,\)"),
    (K.silu, (f(2, 3),), {"out": f(3)}, ValueError, r"out has shape \(3,\), expected \(2, 3\)"),
    (K.silu_backward, (f(2), f(3)), {}, ValueError, r"dy has shape \(2,\) but x has \(3,\)"),
    (K.swiglu, (f(), f()), {}, ValueError, "gate has no axis"),
    (K.swiglu, (f(2, 3), f(3)), {}, ValueError, r"gate has shape \(2, 3\) but up has \(3,\)"),
    (K.swiglu, (f(2, 3), f(2, 3)), {"out": f(2, 4)}, ValueError, "out has shape"),
    (K.swiglu_backward, (f(3), f(2, 3), f(2, 3)), {}, ValueError, "dy has shape"),
    (K.swiglu_backward, (f(3), f(3), f(3)), {"out": (f(3),)}, ValueError, "out holds 1 arrays, expected 2"),
    (K.rope, (Q[0], f(4, 2), f(4, 2)), {}, ValueError, r"x has shape .*, expected \(B, H, T, D\)"),
    (K.rope, (Q, f(4, 3), f(4, 3)), {}, ValueError, "cos has 3 columns, .* which has only 5 columns"),
    (K.rope, (Q, f(4, 2), f(4, 1)), {}, ValueError, r"sin has shape \(4, 1\), expected \(4, 2\)"),
    (K.rope, (Q, f(3, 2), f(3, 2)), {}, ValueError, "x has 4 positions but cos only 3"),
    (K.rope, (Q, f(4, 2), f(4, 2), ids(0)), {}, ValueError, r"positions has shape \(1,\), expected \(2, 4\)"),
    (K.rope, (Q, f(4, 2), f(4, 2), f(2, 4)), {}, TypeError, "positions has dtype float32, expected integers"),
    (K.rope, (Q, f(3, 2), f(3, 2), np.full((2, 4), 3)), {}, ValueError, "position 3 is outside the table of 3 rows"),
    (K.rope, (Q, f(4, 2), f(4, 2)), {"out": Q[:1]}, ValueError, "out has shape"),
    (K.linear, (f(2, 3), f(4, 2)), {}, ValueError, r"x has shape \(2, 3\) and weight \(4, 2\), expected"),
    (K.linear, (f(), f(4, 2)), {}, ValueError, "x has shape"),
    (K.linear, (f(2, 3), f(4, 3), f(3)), {}, ValueError, r"bias has shape \(3,\), expected \(4\)"),
    (K.linear, (f(2, 3), f(4, 3), None, f(4)), {}, ValueError, r"residual has shape \(4,\)"),
    (K.linear, (f(2, 3), f(4, 3)), {"out": f(4)}, ValueError, r"out has shape \(4,\), expected \(2, 4\)"),
    (
        K.linear_backward_input,
        (f(2, 3), f(4, 2)),
        {},
        ValueError,
        r"dy has shape \(2, 3\), expected \(2, 4\)",
    ),
    (K.linear_backward_input, (f(2, 3), f(3)), {}, ValueError, "weight has shape"),
    (K.linear_backward_weight, (f(2, 3), f(3, 2)), {}, ValueError, r"dy has shape \(2, 3\) and x \(3, 2\)"),
    (K.linear_backward_weight, (f(2, 3), f(2, 4)), {"out": f(4, 3)}, ValueError, "out has shape"),
    (K.linear_backward_weight, (f(2, 3), f(2, 4)), {"accumulate": True}, ValueError, "received no out"),
    (K.linear_backward_bias, (f(),), {}, ValueError, "dy has no axis"),
    (K.matmul_bfloat16, (f(2, 3), f(2, 4)), {}, ValueError, r"a has shape \(2, 3\) and b \(2, 4\)"),
    (K.matmul_bfloat16, (f(2, 3), f(3, 4), f(3)), {}, ValueError, r"bias has shape \(3,\), expected \(4\)"),
    (K.matmul_bfloat16, (f(2, 3), f(3, 4), None, f(4)), {}, ValueError, r"residual has shape \(4,\)"),
    (K.matmul_bfloat16, (f(2, 3), f(3, 4)), {"out": f(4)}, ValueError, "out has shape"),
    (K.linear_backward_bias, (f(2, 3),), {"out": f(2)}, ValueError, "out has shape"),
    (K.linear_backward_bias, (f(2, 3),), {"accumulate": True}, ValueError, "received no out"),
    (K.embedding, (f(3), ids(0)), {}, ValueError, r"table has shape \(3,\), expected \(V, C\)"),
    (K.embedding, (f(3, 2), ids(0, 3)), {}, ValueError, "id 3 is outside the table of 3 rows"),
    (K.embedding, (f(3, 2), ids(-1)), {}, ValueError, "id -1 is outside"),
    (K.embedding, (f(3, 2), f(2)), {}, TypeError, "ids has dtype float32, expected integers"),
    (K.embedding, (f(3, 2), ids(0)), {"out": f(2)}, ValueError, "out has shape"),
    (K.embedding_backward, (f(2, 3), ids(0)), {"rows": 3}, ValueError, "dy has shape"),
    (K.embedding_backward, (f(1, 3), ids(5)), {"rows": 3}, ValueError, "id 5 is outside the table of 3 rows"),
    (K.embedding_backward, (f(1, 3), ids(1)), {"rows": 3, "out": f(3, 2)}, ValueError, "out has shape"),
    (K.cross_entropy, (f(2), ids(0, 1)), {}, ValueError, r"logits has shape \(2,\), expected \(N, V\)"),
    (K.cross_entropy, (f(2, 3), ids(0)), {}, ValueError, "targets has shape"),
    (K.cross_entropy, (f(2, 3), ids(0, 1), f(3)), {}, ValueError, r"weights has shape \(3,\), expected \(2\)"),
    (K.cross_entropy, (f(2, 3), f(2)), {}, TypeError, "targets has dtype float32, expected integers"),
    (
        K.cross_entropy,
        (f(2, 3), ids(0, 3)),
        {},
        ValueError,
        r"target 3 is outside 0\.\.2 and is not ignore_index",
    ),
    (K.cross_entropy, (f(2, 3), ids(0, 1)), {"label_smoothing": 1.0}, ValueError, "label_smoothing is 1.0"),
    (K.cross_entropy_with_gradient, (f(2, 3), ids(0, -1)), {}, ValueError, "target -1 is outside"),
    (K.cross_entropy_with_gradient, (f(2, 3), ids(0, 1)), {"out": f(3, 2)}, ValueError, "out has shape"),
    (
        K.linear_cross_entropy,
        (f(2, 3), f(4, 2), ids(0, 1)),
        {},
        ValueError,
        r"x has shape \(2, 3\) and weight \(4, 2\), expected \(N, C\) and \(V, C\) with the same C",
    ),
    (K.linear_cross_entropy, (f(2, 3), f(4, 3), ids(0, 1), f(3)), {}, ValueError, "bias has shape"),
    (K.linear_cross_entropy, (f(2, 3), f(4, 3), ids(0, 4)), {}, ValueError, r"target 4 is outside 0\.\.3"),
    (K.linear_cross_entropy_with_gradients, (f(2, 3), f(4, 3), ids(0)), {}, ValueError, "targets has shape"),
    (
        K.linear_cross_entropy_with_gradients,
        (f(2, 3), f(4, 3), ids(0, 1)),
        {"rows": 0},
        ValueError,
        "rows is 0, expected at least 1",
    ),
    (K.dropout, (f(),), DROP, ValueError, "x has no axis"),
    (K.dropout, (f(2),), {**DROP, "rate": 1.0}, ValueError, "rate is 1.0, expected 0 <= rate < 1"),
    (K.dropout, (f(2),), {**DROP, "seed": -1}, ValueError, r"seed is -1, expected 0 <= seed < 2\^64"),
    (K.dropout, (f(2),), {**DROP, "site": 2**32}, ValueError, r"expected 0 <= site < 2\^32"),
    (K.dropout, (f(2),), {**DROP, "first_row": 2**32 - 1}, ValueError, "the last row is 4294967296"),
    (K.dropout, (f(2),), {**DROP, "out": f(3)}, ValueError, "out has shape"),
    (K.attention, (Q[0], Q, Q), {"causal": True}, ValueError, r"q has shape .*, expected \(B, H, T, D\)"),
    (K.attention, (Q, Q[:1], Q[:1]), {"causal": True}, ValueError, "k has shape"),
    (K.attention, (Q, Q, Q[:, :, :2]), {"causal": False}, ValueError, "v has shape"),
    (K.attention, (Q, Q, Q[..., :0]), {"causal": False}, ValueError, "expected .*, values of some width"),
    (K.attention, (Q, Q[:, :2], Q[:, :2]), {"causal": False}, ValueError, "q has 3 heads and k 2, expected a multiple"),
    (K.attention, (Q, Q, Q, None, f(2, 3, 4, 5)), {"causal": True}, ValueError, r"bias has shape .*, expected \(2, 3,"),
    (K.attention, (Q, Q, Q, None, f(4, 4)), {"causal": True}, ValueError, "bias has shape"),
    (K.attention, (Q, Q, Q, None, np.ones((1, 1, 1, 4), int)), {"causal": True}, TypeError, "bias has dtype int64"),
    (K.attention, (Q, Q, Q, None, None, ids(1)), {"causal": True}, ValueError, "offsets has shape"),
    (K.attention, (Q, Q, Q, None, None, f(2)), {"causal": True}, TypeError, "offsets has dtype float32"),
    (
        K.attention,
        (Q, Q, Q),
        {"causal": True, "window": (3,)},
        ValueError,
        r"window is \(3,\), expected \(left, right\)",
    ),
    (K.attention, (Q, Q, Q), {"causal": True, "window": (-1, 0)}, ValueError, r"window is \(-1, 0\)"),
    (K.attention, (Q, Q, Q), {"causal": True, "softcap": 0.0}, ValueError, "softcap is 0.0"),
    (K.attention_scores, (Q, Q), {"causal": True, "stage": "raw"}, ValueError, "stage is 'raw', expected one of"),
    (K.attention_scores, (Q, Q[:1]), {"causal": True}, ValueError, "k has shape"),
    (K.attention_backward_bias, (Q, Q, Q, Q, Q, LSE), {"causal": True}, TypeError, "received none, expected a bias"),
    (K.attention_backward_bias, (Q, Q, Q, Q, Q, LSE[:1]), {"causal": True}, ValueError, "log_sum_exp has shape"),
    (K.attention, (Q, Q[:, :, :3], Q[:, :, :3]), {"causal": True}, ValueError, "expected at least 4 keys"),
    (K.attention, (Q, Q[:, :, :3], Q[:, :, :3]), {"causal": False, "window": (1, 1)}, ValueError, "at least 4 keys"),
    (K.attention, (Q, Q[:, :, :0], Q[:, :, :0]), {"causal": False}, ValueError, "expected at least 1 keys"),
    (K.attention, (Q, Q, Q, MASK[:, :3]), {"causal": True}, ValueError, "key_mask has shape"),
    (K.attention, (Q, Q, Q, MASK.astype(int)), {"causal": True}, TypeError, "key_mask has dtype int64"),
    (K.attention, (Q, Q, Q), {"causal": True, "out": Q[:1]}, ValueError, "out has shape"),
    (K.attention_backward, (Q[:1], Q, Q, Q, Q, LSE), {"causal": True}, ValueError, "dy has shape"),
    (K.attention_backward, (Q, Q, Q[:1], Q[:1], Q, LSE), {"causal": True}, ValueError, "k has shape"),
    (K.attention_backward, (Q, Q, Q, Q, Q, LSE[:1]), {"causal": True}, ValueError, "log_sum_exp has shape"),
    (
        K.attention_backward,
        (Q, Q, Q, Q, Q, LSE, MASK[:1]),
        {"causal": True},
        ValueError,
        "key_mask has shape",
    ),
    (
        K.attention_backward,
        (Q, Q, Q, Q, Q, LSE),
        {"causal": True, "out": (Q, Q)},
        ValueError,
        "out holds 2 arrays",
    ),
    (K.lstm, put(LSTM, 0, f(2, 3)), {}, ValueError, r"x has shape \(2, 3\), expected \(B, T, I\)"),
    (K.lstm, put(LSTM, 1, f(16, 2)), {}, ValueError, r"w_input has shape \(16, 2\), expected \(16, 3\)"),
    (K.lstm, put(LSTM, 2, f(15, 4)), {}, ValueError, r"w_hidden has shape \(15, 4\), expected \(4H, H\)"),
    (K.lstm, put(LSTM, 3, f(4)), {}, ValueError, "bias has shape"),
    (K.lstm, put(LSTM, 4, f(1, 4)), {}, ValueError, "h0 has shape"),
    (K.lstm, put(LSTM, 5, f(2, 3)), {}, ValueError, "c0 has shape"),
    (K.lstm, (*LSTM, ids(1)), {}, ValueError, "lengths has shape"),
    (K.lstm, (*LSTM, ids(1, 8)), {}, ValueError, r"lengths must lie in 0\.\.7, received 1\.\.8"),
    (K.lstm, (*LSTM, f(2)), {}, TypeError, "lengths has dtype float32"),
    (K.lstm_backward, put(LSTM_BACK, 0, f(2, 6, 4)), {}, ValueError, "dy has shape"),
    (K.lstm_backward, put(LSTM_BACK, 9, f(2, 7, 4)), {}, ValueError, "gates has shape"),
    (K.lstm_backward, put(LSTM_BACK, 4, f(16, 2)), {}, ValueError, "w_input has shape"),
    (K.lstm_backward, (*LSTM_BACK, ids(0, -1)), {}, ValueError, "lengths must lie in"),
    (K.lstm, (*LSTM, None, f(4)), {}, ValueError, r"peepholes has shape \(4,\), expected \(12\)"),
    (K.lstm_backward, (*LSTM_BACK, None, f(3, 4)), {}, ValueError, "peepholes has shape"),
    (K.gru, put(GRU, 0, f(2, 3)), {}, ValueError, r"x has shape \(2, 3\), expected \(B, T, I\)"),
    (K.gru, put(GRU, 1, f(12, 2)), {}, ValueError, r"w_input has shape \(12, 2\), expected \(12, 3\)"),
    (K.gru, put(GRU, 2, f(16, 4)), {}, ValueError, r"w_hidden has shape \(16, 4\), expected \(3H, H\)"),
    (K.gru, put(GRU, 3, f(4)), {}, ValueError, "b_input has shape"),
    (K.gru, put(GRU, 4, f(2, 12)), {}, ValueError, "b_hidden has shape"),
    (K.gru, put(GRU, 5, f(2, 3)), {}, ValueError, "h0 has shape"),
    (K.gru, (*GRU, ids(1, 8)), {}, ValueError, r"lengths must lie in 0\.\.7, received 1\.\.8"),
    (K.gru_backward, put(GRU_BACK, 0, f(2, 6, 4)), {}, ValueError, "dy has shape"),
    (K.gru_backward, put(GRU_BACK, 8, f(2, 7, 12)), {}, ValueError, "inner has shape"),
    (K.gru_backward, (*GRU_BACK, f(2)), {}, TypeError, "lengths has dtype float32"),
    (K.adamw, (f(3), f(2), f(3), f(3)), ADAM, ValueError, r"g has shape \(2,\) but p has \(3,\)"),
    (K.adamw, (f(3), f(3), f(3), f(3, 1)), ADAM, ValueError, "v has shape"),
    (K.adamw, (f(3),) * 4, {**ADAM, "step": 0}, ValueError, "step is 0, expected a count from 1"),
    (K.adamw, (f(3),) * 4, {**ADAM, "beta1": 1.0}, ValueError, "beta1 is 1.0"),
    (K.adamw, (f(3),) * 4, {**ADAM, "out": (f(3), f(2), f(3))}, ValueError, r"out\[1\] has shape"),
    (
        K.squared_norm,
        (ids(1, 2),),
        {},
        TypeError,
        r"expects floating arrays, by position; received \(int64\)",
    ),
]


@pytest.mark.parametrize(
    ("kernel", "arrays", "settings", "error", "message"),
    [pytest.param(*call, id=f"{call[0].name}-{call[4][:30]}") for call in BAD_CALLS],
)
def test_a_bad_call_names_the_operation_and_what_it_received(kernel, arrays, settings, error, message):
    with pytest.raises(error, match=rf"^{kernel.name}\b.*{message}"):
        kernel(*arrays, **settings)


def test_every_kernel_has_a_bad_call():
    missing = set(K.all_kernels()) - {call[0].name for call in BAD_CALLS}
    assert not missing, f"add to BAD_CALLS in tests/test_kernels_checks.py a call that each refuses: {sorted(missing)}"
