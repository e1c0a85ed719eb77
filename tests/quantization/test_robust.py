"""Thresholds over several samples: how these are drawn, what is chosen, and how its spread is told."""

import numpy as np
import pytest
from properties import assert_explains

from espalier.errors import BadInput
from espalier.quantization.ranges import BINS, Histogram
from espalier.quantization.resamples import RESAMPLES, resamples
from espalier.quantization.robust import ranges_of_each, robust_ranges, spread

LABELS = np.random.default_rng(0).choice(4, 400, p=[0.4, 0.3, 0.2, 0.1])


def test_samples_are_in_turn_random_folds_and_of_other_proportions():
    found = resamples(LABELS, 40, 6, seed=0)
    assert [len(places) for places in found] == [40] * 6
    assert all((np.diff(places) > 0).all() and places.max() < 400 for places in found)
    assert len({tuple(places) for places in found}) == 6
    assert list(RESAMPLES) == ["random", "fold", "proportions"]
    first, second = found[1], found[4]  # the second and the fifth of six folds
    assert first.min() >= 400 // 6
    assert first.max() < 134
    assert second.min() >= 267
    assert second.max() < 334
    true = np.bincount(LABELS, minlength=4) / 400
    share = [np.bincount(LABELS[places], minlength=4) / 40 for places in found]
    off = [np.abs(one - true).max() for one in share]
    assert max(off[0], off[3]) < 0.2
    assert max(off[2], off[5]) > 0.3


def test_samples_are_a_function_of_the_seed():
    one, same, other = (resamples(LABELS, 40, 3, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_there_are_no_more_images_in_a_sample_than_there_are():
    found = resamples(np.zeros(7, np.int64), 40, 3, seed=0)
    assert [len(places) for places in found] == [7, 2, 7]


def histogram(low: float, high: float) -> Histogram:
    return Histogram(low, high, np.ones(BINS, np.int64))


SAMPLES = [
    {"a": histogram(-1, 2), "b": histogram(0, 1)},
    {"a": histogram(-3, 2), "b": histogram(0, 1)},
    {"a": histogram(-2, 8), "b": histogram(0, 1)},
]


def test_the_robust_range_is_the_median_of_each_end():
    assert robust_ranges(ranges_of_each(SAMPLES, "minmax")) == {"a": (-2.0, 2.0), "b": (0.0, 1.0)}


def test_one_sample_is_its_own_median():
    assert robust_ranges(ranges_of_each(SAMPLES[:1], "minmax")) == {
        "a": (-1.0, 2.0),
        "b": (0.0, 1.0),
    }


def test_the_spread_is_relative_to_the_median_width():
    """The widths of `a` are 3, 5 and 10; all widths of `b` are 1."""
    np.testing.assert_allclose(spread(ranges_of_each(SAMPLES, "minmax")), [7 / 5, 0])


def test_an_outlier_in_one_sample_moves_minmax_and_not_the_median():
    samples = [{"a": histogram(0, 1)}] * 4 + [{"a": histogram(0, 100)}]
    each = ranges_of_each(samples, "minmax")
    assert max(ranges["a"][1] for ranges in each) == 100
    assert robust_ranges(each)["a"][1] == 1


def test_an_unknown_calibration_is_refused():
    with pytest.raises(BadInput) as caught:
        ranges_of_each(SAMPLES, "kl")
    assert_explains(caught.value, "minmax, percentile, entropy", "'kl'")
