"""How ranges are chosen from histograms of known shape."""

import numpy as np
import pytest

from espalier.quantization.ranges import (
    BINS,
    CALIBRATIONS,
    Histogram,
    count_magnitudes,
    entropy,
    minmax,
    percentile,
)


def histogram(values: np.ndarray) -> Histogram:
    most = np.abs(values).max()
    return Histogram(
        float(values.min()), float(values.max()), np.histogram(np.abs(values), BINS, (0, most))[0]
    )


def draw(name: str, count: int = 200_000) -> np.ndarray:
    random = np.random.default_rng(0)
    if name == "long tail":
        return np.append(random.exponential(1.0, count), [100.0])
    if name == "uniform":
        return random.uniform(0, 5, count)
    return random.uniform(-5, 5, count)


@pytest.mark.parametrize("name", ["long tail", "uniform", "both sides"])
def test_magnitudes_are_counted_as_numpy_counts_them(name):
    values = draw(name).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    counts = count_magnitudes(values, low, high)
    expected, _ = np.histogram(np.abs(values), BINS, (0, max(-low, high)))
    assert counts.sum() == values.size
    # rounding moves a value over the edge of a bin now and then, and never further
    assert np.abs(counts - expected).sum() <= 1e-4 * values.size
    assert np.abs(np.cumsum(counts - expected)).max() <= 1e-4 * values.size


def test_zeros_are_counted_in_the_first_bin():
    counts = count_magnitudes(np.zeros(5, np.float32), 0.0, 0.0)
    assert counts[0] == counts.sum() == 5


def test_minmax_is_all_that_was_seen():
    assert minmax(Histogram(-0.5, 2.0, np.ones(BINS, np.int64))) == (-0.5, 2.0)


def test_magnitude_is_the_larger_of_both_sides():
    assert Histogram(-3.0, 2.0, np.ones(BINS, np.int64)).magnitude == 3.0
    assert Histogram(-1.0, 2.0, np.ones(BINS, np.int64)).magnitude == 2.0


@pytest.mark.parametrize(
    ("low", "high", "clipped"),
    [
        (-4.0, 4.0, (-1.0, 1.0)),
        (0.0, 4.0, (0.0, 1.0)),
        (-0.5, 4.0, (-0.5, 1.0)),
        (-4.0, 0.25, (-1.0, 0.25)),
    ],
)
def test_clipping_cuts_magnitudes_and_widens_neither_side(low, high, clipped):
    assert Histogram(low, high, np.ones(BINS, np.int64)).clipped(BINS // 4) == clipped


@pytest.mark.parametrize("part", [0.5, 0.9, 0.999])
def test_percentile_clips_the_stated_part(part):
    values = draw("long tail")
    low, high = percentile(histogram(values), part)
    assert low == values.min()
    bin_width = values.max() / BINS
    assert np.mean(values <= high) >= part
    assert np.mean(values <= high - 2 * bin_width) < part


def test_percentile_keeps_9999_of_10000_by_default():
    values = np.append(np.linspace(0, 1, 100_000), np.full(9, 10.0))
    assert percentile(histogram(values))[1] == pytest.approx(1, abs=0.01)
    values = np.append(np.linspace(0, 1, 100_000), np.full(11, 10.0))
    assert percentile(histogram(values))[1] == pytest.approx(10, abs=0.01)


def test_entropy_gives_up_a_long_tail():
    """One value in 200,000 is ten times as far out as the rest: its range would leave them 25 levels of 256."""
    values = draw("long tail")
    low, high = entropy(histogram(values))
    assert low == values.min()
    assert 5 < high < 40
    assert np.mean(values > high) < 0.01


@pytest.mark.parametrize("name", ["uniform", "uniform on both sides"])
def test_entropy_keeps_a_uniform_range(name):
    values = draw(name)
    low, high = entropy(histogram(values))
    assert high >= 0.98 * values.max()
    assert low == pytest.approx(values.min(), rel=0.02)


def test_entropy_is_not_led_by_the_zeros_of_a_rectifier():
    values = draw("long tail")
    rectified = np.append(values, np.zeros(10 * len(values)))
    assert entropy(histogram(rectified))[1] == pytest.approx(entropy(histogram(values))[1], rel=0.2)


def test_entropy_is_not_led_by_spikes_to_clip_more_than_a_thousandth():
    """As behind a convolution over pictures on black: every filter has a value of its own there, many times."""
    values = np.abs(np.random.default_rng(0).normal(0, 1, 50_000))
    spikes = np.repeat(np.linspace(0.05, 0.4, 12), 40_000)
    both = np.append(values, spikes)
    _, high = entropy(histogram(both))
    assert np.mean(both > high) <= 1e-3
    assert high > 2


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("value", [0.0, 2.5, -2.5])
def test_a_tensor_of_one_value_has_a_range_that_holds_it(name, value):
    magnitude = max(abs(value), float(np.finfo(np.float32).tiny))
    counts = np.histogram(np.full(50, abs(value)), BINS, (0, magnitude))[0]
    low, high = CALIBRATIONS[name](Histogram(value, value, counts))
    assert low <= value <= high
