"""Calibrations: each chooses the range (low, high) of an activation from its histogram."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 2048
_TINY = 1e-20  # the range of a tensor of zeros, whose bins are still of normal numbers
_CLIPPED = 1e-3  # largest fraction of the values that `entropy` clips


@dataclass(frozen=True)
class Histogram:
    """The values of one tensor over all calibration images.

    Attributes:
        low: smallest value.
        high: largest value.
        counts: (BINS,) numbers of values in equal bins of [0, largest magnitude], by magnitude.
    """

    low: float
    high: float
    counts: NDArray[np.int64]

    @property
    def magnitude(self) -> float:
        """The largest magnitude."""
        return max(abs(self.low), abs(self.high))

    def clipped(self, bins: int) -> tuple[float, float]:
        """The range when magnitudes above the first `bins` bins are clipped."""
        most = self.magnitude * bins / BINS
        return max(self.low, -most), min(self.high, most)


def count_magnitudes(values: NDArray[np.float32], low: float, high: float) -> NDArray[np.int64]:
    """The counts of a `Histogram` with these smallest and largest values.

    It counts as `np.histogram` does, in half its time; at the edges of bins rounding may differ.
    """
    most = max(abs(low), abs(high), _TINY)
    places = np.abs(values).ravel()
    places *= BINS / most
    bins = np.minimum(places.astype(np.intp), BINS - 1)
    return np.bincount(bins, minlength=BINS)


Calibration = Callable[[Histogram], tuple[float, float]]


def minmax(histogram: Histogram) -> tuple[float, float]:
    """The smallest and the largest value."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, part: float = 0.9999) -> tuple[float, float]:
    """The range of a fraction of all magnitudes."""
    cumulative = np.cumsum(histogram.counts)
    return histogram.clipped(int(np.searchsorted(cumulative, part * cumulative[-1])) + 1)


def entropy(histogram: Histogram) -> tuple[float, float]:
    """The clipping with the smallest Kullback-Leibler divergence (Migacz 2017).

    For every candidate, the distribution with its tail moved into the last bin is compared with the
    same distribution in as many levels as the integer type has on one side. Unlike in the paper, at
    most a thousandth of the values is clipped: many equal values (a black margin after a
    convolution) are spikes that only ever finer levels resolve, and would clip several percent.
    """
    levels = 128 if histogram.low < 0 else 256
    counts = histogram.counts.astype(float)
    if len(counts) > 1:
        counts[0] = counts[1]  # the exact zeros of rectifiers carry no information
    least = int(np.searchsorted(np.cumsum(counts), (1 - _CLIPPED) * counts.sum())) + 1
    candidates = [bins for bins in range(levels, BINS + 1, 16) if bins >= least] or [BINS]
    return histogram.clipped(min(candidates, key=lambda bins: _divergence(counts, bins, levels)))


def _divergence(counts: NDArray[np.float64], bins: int, levels: int) -> float:
    reference = counts[:bins].copy()
    reference[-1] += counts[bins:].sum()
    level = np.arange(bins) * levels // bins
    seen = counts[:bins] > 0
    total = np.bincount(level, counts[:bins], levels)
    occupied = np.bincount(level, seen, levels)
    quantized = np.where(seen, (total / np.maximum(occupied, 1))[level], 0.0)
    if not quantized.sum() or not reference.sum():
        return float("inf")
    p, q = reference / reference.sum(), quantized / quantized.sum()
    here = p > 0
    return float(np.sum(p[here] * np.log(p[here] / np.maximum(q[here], 1e-12))))


CALIBRATIONS: dict[str, Calibration] = {
    "minmax": minmax,
    "percentile": percentile,
    "entropy": entropy,
}
WITHOUT_COUNTS = ("minmax",)  # calibrations that read no counts
