"""From logits to a token: the limits, the penalties, the draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tinylm.errors import TinylmError
from tinylm.inference import Sampler, Sampling
from tinylm.inference.logits import keep_min_p, keep_top_k, keep_top_p, keep_typical, log_softmax, probabilities

LOGITS = arrays(np.float64, st.integers(1, 200), elements=st.floats(-30, 30))
SHARE = st.floats(0.01, 1.0)


def kept(logits: np.ndarray) -> np.ndarray:
    return np.flatnonzero(logits > -np.inf)


@given(LOGITS, st.integers(1, 250))
def test_top_k_keeps_k_tokens_and_none_likelier_is_lost(logits: np.ndarray, k: int) -> None:
    found = kept(keep_top_k(logits, k))
    assert len(found) == min(k, len(logits))
    assert logits[found].min() >= np.delete(logits, found).max(initial=-np.inf)


@given(LOGITS, SHARE)
def test_top_p_keeps_the_fewest_likeliest_that_reach_p(logits: np.ndarray, p: float) -> None:
    found, share = kept(keep_top_p(logits, p)), probabilities(logits)
    assert share[found].min() >= np.delete(share, found).max(initial=0)
    assert share[found].sum() >= p - 1e-12
    if p < 1:
        assert share[found].sum() - share[found].min() < p + 1e-12


@given(LOGITS, SHARE)
def test_min_p_and_typical_keep_what_they_promise(logits: np.ndarray, p: float) -> None:
    share = probabilities(logits)
    assert kept(keep_min_p(logits, p)).tolist() == np.flatnonzero(share >= p * share.max()).tolist()
    found = kept(keep_typical(logits, p))
    assert share[found].sum() >= p - 1e-9
    surprise = np.abs(-log_softmax(logits) - (-(share * log_softmax(logits)).sum()))
    assert surprise[found].max() <= np.delete(surprise, found).min(initial=np.inf) + 1e-9


@given(LOGITS)
def test_log_softmax_is_the_log_of_the_probabilities_and_what_is_kept_is_unchanged(logits: np.ndarray) -> None:
    assert np.allclose(np.exp(log_softmax(logits)), probabilities(logits))
    for limited in (keep_top_k(logits, 3), keep_top_p(logits, 0.5), keep_min_p(logits, 0.2), keep_typical(logits, 0.5)):
        assert (limited[kept(limited)] == logits[kept(limited)]).all()


def test_penalties_weigh_what_was_generated_and_repetition_the_prompt_as_well() -> None:
    logits, ids = np.array([2.0, -2.0, 1.0, 0.5]), [0, 1, 2, 2]
    assert Sampling(repetition_penalty=2.0).penalized(logits, ids, 2).tolist() == [1.0, -4.0, 0.5, 0.5]
    penalized = Sampling(presence_penalty=0.25, frequency_penalty=0.5).penalized(logits, ids, 2)
    assert penalized.tolist() == [2.0, -2.0, 1.0 - 0.25 - 2 * 0.5, 0.5]
    assert (logits == [2.0, -2.0, 1.0, 0.5]).all()  # as they were


def test_a_bias_forbids_or_forces_a_token() -> None:
    logits = np.array([3.0, 2.0, 1.0])
    assert Sampler(temperature=0, logit_bias={0: -math.inf})(logits) == 1
    assert Sampler(temperature=0, logit_bias={2: 100})(logits) == 2
    with pytest.raises(TinylmError, match=r"token 3, expected one of 0\.\.2"):
        Sampler(logit_bias={3: 1.0})(logits)


# Chi-square's 99.9 % quantile for 1 to 6 degrees of freedom, from any table.
CRITICAL = {1: 10.83, 2: 13.82, 3: 16.27, 4: 18.47, 5: 20.52, 6: 22.46}


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 0.6}, {"top_k": 4}, {"top_p": 0.8}, {"min_p": 0.2}, {"typical_p": 0.7},
     {"temperature": 1.5, "top_k": 6, "top_p": 0.9, "min_p": 0.05}],
    ids=str,
)  # fmt: skip
def test_draws_pass_a_chi_square_test_against_the_distribution(settings) -> None:
    logits = np.log([0.32, 0.2, 0.15, 0.13, 0.1, 0.06, 0.04])
    sampler = Sampler(seed=3, **settings)
    p = sampler.distribution(logits)
    counts = np.bincount([sampler(logits) for _ in range(4000)], minlength=7)
    assert not counts[p == 0].any()
    expected = 4000 * p[p > 0]
    statistic = ((counts[p > 0] - expected) ** 2 / expected).sum()
    assert statistic < CRITICAL[len(expected) - 1]


@given(arrays(np.float64, st.integers(1, 50), elements=st.floats(0, 1)), st.integers(0, 99))
def test_a_token_of_probability_zero_is_never_drawn(p: np.ndarray, seed: int) -> None:
    if p.sum() > 0:
        sampler = Sampler(seed=seed)
        assert all(p[sampler.draw(p)] > 0 for _ in range(20))


@pytest.mark.parametrize(
    "settings",
    [{"min_p": 1.5}, {"typical_p": 0}, {"repetition_penalty": 0}, {"presence_penalty": math.inf}, {"top_k": 1.5},
     {"temperature": "hot"}, {"temperature": None}, {"logit_bias": [1]}, {"logit_bias": {-1: 1.0}}, {"seed": "x"}],
    ids=str,
)  # fmt: skip
def test_settings_outside_their_range_are_named(settings) -> None:
    with pytest.raises(TinylmError, match=f"{next(iter(settings))} is"):
        Sampling(**settings)
