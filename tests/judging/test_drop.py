"""The paired interval, its test and its verdict: against published figures, and the laws that they obey."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from espalier.judging import compare, drop_interval, mcnemar, non_inferior

Z = norm.ppf(0.975)
few = settings(max_examples=40, deadline=None)  # a root takes milliseconds


@st.composite
def tables(draw):
    total = draw(st.integers(1, 5000))
    lost = draw(st.integers(0, total))
    return lost, draw(st.integers(0, total - lost)), total


def test_tangos_own_example_is_reproduced():
    """Tango (1998), section 6.1: of 44 pairs 1 is lost; the 90 % limit is 0.096."""
    _, high = drop_interval(1, 0, 44, level=0.9)
    assert round(float(high), 3) == 0.096


def test_an_example_of_fagerland_lydersen_and_laake_is_reproduced():
    """Statistical Analysis of Contingency Tables, chapter 8 (data of Cavo et al. 2012): 6 and 16 of 161."""
    low, high = drop_interval(6, 16, 161)
    assert (round(float(low), 4), round(float(high), 4)) == (-0.1240, -0.0054)
    assert round(mcnemar(6, 16), 6) == 0.052479


@few
@given(tables())
def test_the_interval_holds_the_estimate_and_is_mirrored_with_the_models(table):
    lost, gained, total = table
    low, high = drop_interval(lost, gained, total)
    assert -1 <= low <= (lost - gained) / total <= high <= 1
    assert (low < high) or total == abs(lost - gained)
    mirrored = drop_interval(gained, lost, total)
    np.testing.assert_allclose([-mirrored[1], -mirrored[0]], [low, high], atol=1e-12)


@few
@given(tables())
def test_zero_lies_outside_exactly_if_mcnemars_score_rejects_it(table):
    lost, gained, total = table
    low, high = drop_interval(lost, gained, total)
    score = (lost - gained) / math.sqrt(lost + gained) if lost + gained else 0.0
    if abs(abs(score) - Z) > 1e-6:
        assert (low <= 0 <= high) == (abs(score) < Z)


@few
@given(st.integers(1, 10_000))
def test_without_any_difference_the_bound_is_that_of_the_score_test(total):
    """Tango's eq. 24 with 0 and 0: -n d / sqrt(n d (1 - d)) = -z has the root z^2 / (n + z^2)."""
    low, high = drop_interval(0, 0, total)
    assert high == pytest.approx(Z**2 / (total + Z**2), rel=1e-9)
    assert low == -high


@few
@given(
    tables(), st.floats(-0.99, 0.99, allow_subnormal=False)
)  # a runtime elsewhere may turn them off
def test_the_probability_that_the_score_uses_is_the_most_likely_one(table, drop):
    """The probability of a gained answer, given the drop, has the highest likelihood."""
    from espalier.judging.drop import _gained_under

    lost, gained, total = table
    probability = float(_gained_under(*(np.array(float(count)) for count in table), np.array(drop)))
    low, high = max(0.0, -drop), (1 - drop) / 2
    assert low - 1e-9 <= probability <= high + 1e-9
    probability = min(max(probability, low), high)

    def likelihood(x):
        parts = ((lost, x + drop), (gained, x), (total - lost - gained, 1 - drop - 2 * x))
        return sum(count * math.log(max(part, 1e-300)) for count, part in parts if count)

    best = max(likelihood(x) for x in np.linspace(low, high, 101))
    assert likelihood(probability) >= best - 1e-6 * max(1, abs(best))


def test_tables_are_taken_in_arrays():
    lost, gained = np.array([[1], [4]]), np.array([0, 3, 5])
    low, high = drop_interval(lost, gained, 100)
    assert low.shape == high.shape == (2, 3)
    assert high[1, 2] == pytest.approx(float(drop_interval(4, 5, 100)[1]), abs=1e-12)


@pytest.mark.parametrize("table", [(-1, 0, 5), (0, -1, 5), (3, 3, 5), (0, 0, 0)])
def test_counts_that_cannot_be_are_refused(table):
    with pytest.raises(ValueError, match="counts to be 0 or more"):
        drop_interval(*table)


def test_mcnemar_is_the_exact_test():
    assert mcnemar(0, 0) == mcnemar(7, 7) == 1
    assert mcnemar(5, 0) == mcnemar(0, 5) == 2 * 0.5**5
    assert mcnemar(3, 1) == pytest.approx(2 * (1 + 4) * 0.5**4)


def test_a_comparison_counts_what_differs():
    reference = np.array([1.0, 1, 1, 0, 1, 0, 0, 0])
    scores = np.array([1.0, 0, 1, 1, 0, 0, 1, 0])
    found = compare(scores, reference)
    assert (found.lost, found.gained, found.drop.value) == (2, 2, 0)
    assert found.p == mcnemar(2, 2)
    assert (found.drop.low, found.drop.high) == drop_interval(2, 2, 8)


def test_a_model_beside_itself_has_lost_nothing():
    scores = np.arange(200) % 5 // 4.0
    found = compare(scores, scores)
    assert (found.drop.value, found.lost, found.p) == (0, 0, 1)


def test_the_verdict_is_the_bounds_not_the_estimates():
    assert non_inferior(0.02, margin=0.02)
    assert not non_inferior(0.03, margin=0.02)
    assert not non_inferior(float("nan"), margin=0.02)
    assert not non_inferior(-0.005, margin=-0.01)
    with pytest.raises(ValueError, match=r"margin in \[-1, 1\]; found 2"):
        non_inferior(0.0, margin=2)
