"""The kernels against the node tests of the ONNX standard, as far as its operators mean the same.

A function per operator turns a node test into a call of our kernel and returns the node's outputs, or raises
`Skip` with the reason why that case asks for something else.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from cases import variants

import tinylm_kernels as K

pytestmark = pytest.mark.oracle


class Skip(Exception):
    """A node test that asks for something the kernel does not promise."""


def need(condition, reason):
    if not condition:
        raise Skip(reason)


@pytest.fixture(scope="session")
def node_tests():
    """Every node test of the standard. The library keeps them in a global list, so that it is asked once."""
    pytest.importorskip("onnx")
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect_testcases(None)


def named_inputs(node, arrays):
    """The arrays by their position in the node's inputs, None for those left out."""
    given = iter(arrays)
    return [next(given) if name else None for name in node.input] + [None] * 8


def softmax(x, attributes, outputs):
    axis = attributes.get("axis", -1)
    return [np.moveaxis(K.softmax(np.moveaxis(x[0], axis, -1)), -1, axis)]


def gelu(x, attributes, outputs):
    need(attributes.get("approximate") == b"tanh", "the erf form")
    return [K.gelu(x[0])]


def layer_normalization(x, attributes, outputs):
    axis = attributes.get("axis", -1) % x[0].ndim
    rows = x[0].reshape(*x[0].shape[:axis], -1)
    weight, bias = x[1].reshape(-1), x[2].reshape(-1)
    y, mean, rstd = K.layer_norm(rows, weight, bias, eps=attributes.get("epsilon", 1e-5))
    kept = (*x[0].shape[:axis], *[1] * (x[0].ndim - axis))
    return [y.reshape(x[0].shape), np.reshape(mean, kept), np.reshape(rstd, kept)]


def softmax_cross_entropy_loss(x, attributes, outputs):
    scores, labels, weights = x[:3]
    need(weights is None, "class weights")
    with np.errstate(divide="ignore"):
        log_probabilities = np.log(K.softmax(np.moveaxis(scores, 1, -1)))
    return [_reduced(scores, labels, attributes), np.moveaxis(log_probabilities, -1, 1)]


def negative_log_likelihood_loss(x, attributes, outputs):
    log_probabilities, labels, weights = x[:3]
    need(weights is None, "class weights")
    sums = np.exp(log_probabilities).sum(axis=1)
    need(np.allclose(sums, 1), "its inputs are not log-probabilities")
    return [_reduced(log_probabilities, labels, attributes)]


def _reduced(scores, labels, attributes):
    ignore = attributes.get("ignore_index", K.IGNORE)
    rows = np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1])
    losses = K.cross_entropy(rows, labels.reshape(-1), ignore_index=ignore).reshape(labels.shape)
    reduction = attributes.get("reduction", b"mean")
    if reduction == b"none":
        return losses
    return losses.sum() if reduction == b"sum" else losses.sum() / (labels != ignore).sum()


def lstm(x, attributes, outputs):
    need(not {"activations", "clip", "input_forget"} & set(attributes), "other activations, clipping or gates")
    *inputs, c0, peepholes = x[:8]

    def layer(x, w, r, b, h0, lengths, n, batch_first):
        H = r.shape[1]
        order = (0, 2, 3, 1)  # from i, o, f, c to i, f, g, o
        weights = *_gates(order, H, w, r), sum(_gates(order, H, b[: 4 * H], b[4 * H :]))
        c = np.zeros_like(h0) if c0 is None else _of_direction(c0, n, batch_first)
        p = None if peepholes is None else _gates((0, 2, 1), H, peepholes[n])[0]  # from i, o, f
        return K.lstm(x, *weights, h0, c, lengths, p)[:3]

    return _recurrent(layer, 4, inputs, attributes)


def gru(x, attributes, outputs):
    need(not {"activations", "clip"} & set(attributes), "other activations or clipping")

    def layer(x, w, r, b, h0, lengths, n, batch_first):
        H = r.shape[1]
        arrays = _gates((1, 0, 2), H, w, r, b[: 3 * H], b[3 * H :])  # from z, r, h to r, z, n
        return K.gru(x, *arrays, h0, lengths, reset_after=bool(attributes.get("linear_before_reset", 0)))[:2]

    return _recurrent(layer, 3, x[:6], attributes)


def _recurrent(layer, gates, inputs, attributes):
    """The outputs of a recurrent node from those of layer(x, w, r, b, h0, lengths, direction, batch_first)."""
    x, w, r, b, lengths, h0 = inputs
    batch_first = attributes.get("layout", 0) == 1
    x = x if batch_first else x.swapaxes(0, 1)
    H = r.shape[-1]
    results = []
    backwards = {b"forward": [False], b"reverse": [True], b"bidirectional": [False, True]}
    for n, backward in enumerate(backwards[attributes.get("direction", b"forward")]):
        bias = np.zeros(2 * gates * H, w.dtype) if b is None else b[n]
        h = np.zeros((len(x), H), w.dtype) if h0 is None else _of_direction(h0, n, batch_first)
        way = (lambda a: _backwards(a, lengths)) if backward else (lambda a: a)
        y, *last = layer(way(x), w[n], r[n], bias, h, lengths, n, batch_first)
        results.append((way(y), *last))
    ys, *states = zip(*results, strict=True)
    y = np.stack(ys, axis=2)  # (B, T, directions, H)
    return [y if batch_first else y.transpose(1, 2, 0, 3), *(np.stack(s, axis=1 if batch_first else 0) for s in states)]


def _of_direction(state, n, batch_first):
    return state[:, n] if batch_first else state[n]


def _backwards(x, lengths):
    """Each row backwards over its own length."""
    ends = np.full(len(x), x.shape[1]) if lengths is None else lengths
    return np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(x, ends, strict=True)])


def _gates(order, H, *arrays):
    """The blocks of H rows of each array in another order."""
    return [np.concatenate([a[n * H : (n + 1) * H] for n in order]) for a in arrays]


def attention(x, attributes, outputs):
    q, k, v, mask, past_k, past_v, lengths = x[:7]
    need(not attributes.get("softcap"), "a soft cap on the scores")
    need(len(outputs) < 4, "asks for the scores too")
    windows = [attributes.get(f"{side}_window_size", -1) for side in ("left", "right")]
    need(windows == [-1, -1], "a window")
    three = q.ndim == 3
    if three:
        q, k, v = (_split(a, attributes[f"{h}_num_heads"]) for a, h in ((q, "q"), (k, "kv"), (v, "kv")))
    past = 0 if past_k is None else past_k.shape[2]
    if past:
        k, v = np.concatenate([past_k, k], axis=2), np.concatenate([past_v, v], axis=2)
    present = [k, v]
    need(k.shape == v.shape, "values of another width than keys")
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat(groups, axis=1), v.repeat(groups, axis=1)
    settings = {"causal": bool(attributes.get("is_causal")), "scale": attributes.get("scale")}
    if lengths is None:
        y = _whole(q, k, v, mask, past, settings)
    else:
        need(mask is None, "a mask beside the lengths")
        y = np.concatenate([_row(q, k, v, b, n, settings) for b, n in enumerate(lengths)])
    return [y.swapaxes(1, 2).reshape(len(y), y.shape[2], -1) if three else y, *present]


def _split(a, heads):
    return a.reshape(*a.shape[:2], heads, -1).swapaxes(1, 2)


def _whole(q, k, v, mask, past, settings):
    T, S = q.shape[2], k.shape[2]
    key_mask = None
    if mask is not None:
        need(mask.dtype == bool, "a mask that is added to the scores")
        need(mask.shape[-1] == S, "a mask of fewer keys")
        rows = np.broadcast_to(mask, (*q.shape[:3], S))
        need((rows == rows[:, :1, :1]).all(), "a mask that differs from query to query")
        key_mask = rows[:, 0, 0]
    if settings["causal"]:  # the standard counts queries from the first new key, we from the last
        need(past + T <= S, "more causal queries than keys")
        k, v = k[:, :, : past + T], v[:, :, : past + T]
        key_mask = None if key_mask is None else key_mask[:, : past + T]
    return K.attention(q, k, v, key_mask, **settings)[0]


def _row(q, k, v, b, n, settings):
    need(n >= (q.shape[2] if settings["causal"] else 1), "queries before the first key")
    row = slice(b, b + 1)
    return K.attention(q[row], k[row, :, :n], v[row, :, :n], **settings)[0]


def adam(x, attributes, outputs):
    lr, count = float(x[0]), int(x[1])
    beta1, beta2 = attributes.get("alpha", 0.9), attributes.get("beta", 0.999)
    # Step 0 has no bias correction, nor has one so late that beta^step is 0. The standard adds epsilon before
    # the correction, we after it.
    step = count or 10**9
    settings = {
        "lr": lr,
        "beta1": beta1,
        "beta2": beta2,
        "eps": attributes.get("epsilon", 0.0) / math.sqrt(1 - beta2**step),
        "weight_decay": attributes.get("norm_coefficient", 0.0),
        "step": step,
        "decoupled": False,
    }
    arrays = [a for a in x[2:] if a is not None]
    n = len(arrays) // 4
    results = [K.adamw(*arrays[i::n], **settings) for i in range(n)]
    return [result[i] for i in range(3) for result in results]


OPERATORS = {
    "Softmax": (softmax, K.softmax),
    "Gelu": (gelu, K.gelu),
    "LayerNormalization": (layer_normalization, K.layer_norm),
    "SoftmaxCrossEntropyLoss": (softmax_cross_entropy_loss, K.cross_entropy),
    "NegativeLogLikelihoodLoss": (negative_log_likelihood_loss, K.cross_entropy),
    "LSTM": (lstm, K.lstm),
    "GRU": (gru, K.gru),
    "Attention": (attention, K.attention),
    "Adam": (adam, K.adamw),
}


def run(call, node_test):
    """Raise AssertionError unless our kernel gives the outputs of the node test, Skip where it cannot."""
    from onnx.helper import get_attribute_value

    (node,) = node_test.model.graph.node
    attributes = {a.name: get_attribute_value(a) for a in node.attribute}
    for arrays, expected in node_test.data_sets:
        floating = {a.dtype.name for a in arrays if a.dtype.kind not in "iub"}
        need(floating <= {"float32", "float64"}, f"{min(floating)} numbers")
        results = call(named_inputs(node, arrays), attributes, list(node.output))
        wanted = [r for r, name in zip(results, node.output, strict=False) if name]
        for r, e in zip(wanted, expected, strict=True):
            np.testing.assert_allclose(r, e, rtol=1e-5, atol=2e-6, err_msg=node_test.name)


def nodes_of(operator, node_tests):
    """The node tests of this operator alone, not those that spell it out in simpler operators."""
    return [t for t in node_tests if [n.op_type for n in t.model.graph.node] == [operator]]


@pytest.mark.parametrize(
    ("operator", "name"),
    [(o, v.values[1]) for o, (_, k) in OPERATORS.items() for v in variants(k) if v.values[2] == "float32"],
)
def test_the_node_tests_of_an_operator(node_tests, operator, name, capsys):
    call, _ = OPERATORS[operator]
    selected, skipped = nodes_of(operator, node_tests), []
    assert selected
    for node_test in selected:
        try:
            with K.use(name):
                run(call, node_test)
        except Skip as reason:
            skipped.append(f"  skipped {node_test.name}: {reason}")
    ran = len(selected) - len(skipped)
    with capsys.disabled():
        print(f"\nONNX {operator}, {name}: {ran} of {len(selected)} node tests", *skipped, sep="\n")
    assert ran or operator == "NegativeLogLikelihoodLoss"
