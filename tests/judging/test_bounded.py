"""Intervals of graded scores: their coverage, and what they promise where losses are rare."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from espalier.judging import bounded_drop, bounded_mean, compare, drop_interval

DRAWS = {200: 400, 1000: 200, 10_000: 40}


def simulation():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "simulate_bounded.py"
    spec = importlib.util.spec_from_file_location("simulate_bounded", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SIMULATION = simulation()


@pytest.mark.parametrize("scores", SIMULATION.SCORES)
@pytest.mark.parametrize("size", DRAWS)
def test_at_the_margin_no_more_pass_than_promised(scores, size):
    """The full simulation is `python benchmarks/simulate_bounded.py`."""
    random = np.random.default_rng(7)
    pairs = SIMULATION.SCORES[scores](random, 200_000)
    found = SIMULATION.passes(pairs, size, DRAWS[size], random)
    resolved = 3 * (0.025 * 0.975 / DRAWS[size]) ** 0.5
    assert found["passed"] <= 0.025 + resolved


def test_a_model_that_has_lost_nothing_passes_where_there_are_examples_enough():
    assert bounded_drop(np.full(1000, 0.8), np.full(1000, 0.8))[0].high < 0.01
    assert bounded_drop(np.full(200, 0.8), np.full(200, 0.8))[0].high > 0.01


def test_the_paired_t_test_lets_disasters_through_and_betting_does_not():
    """1 % of the examples lose everything: a sample without one looks like a model without a loss."""
    random = np.random.default_rng(3)
    scores, reference = SIMULATION.disasters(random, 200_000)
    margin = (reference - scores).mean()
    passed = {"t": 0, "betting": 0}
    for _ in range(400):
        rows = random.integers(0, len(scores), 200)
        losses = reference[rows] - scores[rows]
        upper = losses.mean() + 1.96 * losses.std(ddof=1) / 200**0.5
        passed["t"] += upper <= margin
        passed["betting"] += bounded_drop(scores[rows], reference[rows])[0].high <= margin
    assert passed["t"] > 0.07 * 400
    assert passed["betting"] <= 0.025 * 400


def test_the_interval_contains_the_mean_and_shrinks_with_the_examples_and_their_variance():
    random = np.random.default_rng(0)
    wide, narrow = random.random(500), 0.4 + 0.2 * random.random(500)
    widths = []
    for values in (wide[:100], wide, narrow):
        found = bounded_mean(values)
        assert 0 <= found.low < found.value == values.mean() < found.high <= 1
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)


def test_mirrored_scores_have_the_mirrored_interval():
    values = np.random.default_rng(1).beta(2, 5, 300)
    found, mirrored = bounded_mean(values), bounded_mean(1 - values)
    assert found.low == pytest.approx(1 - mirrored.high, abs=1e-9)


def test_the_order_of_the_examples_does_not_decide():
    sorted_values = np.sort(np.random.default_rng(2).random(400))
    found, mixed = (
        bounded_mean(sorted_values),
        bounded_mean(np.random.default_rng(5).permutation(sorted_values)),
    )
    assert found.high == pytest.approx(mixed.high, abs=0.01)


def test_the_p_value_is_small_where_the_interval_excludes_zero():
    reference = np.random.default_rng(4).beta(8, 2, 2000)
    drop, p = bounded_drop(0.9 * reference, reference)
    assert drop.low > 0
    assert p < 1e-6
    assert bounded_drop(reference, reference)[1] == 1


def test_scores_of_zero_and_one_keep_tangos_interval():
    scores = (np.arange(500) % 10 > 0).astype(float)
    reference = np.ones(500)
    assert compare(scores, reference).drop[1:] == drop_interval(50, 0, 500)
    assert compare(0.5 * scores, reference).drop.high > 0.5


@pytest.mark.parametrize("values", [np.array([]), np.array([0.5, 1.2]), np.array([np.nan])])
def test_values_outside_of_the_bounds_are_refused(values):
    with pytest.raises(ValueError, match=r"values in \[0, 1\]"):
        bounded_mean(values)
