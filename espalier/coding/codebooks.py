"""Codebooks of few values per tensor, by one-dimensional k-means (Han et al. 2016, section 3)."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

_ITERATIONS = 200  # of Lloyd's algorithm, which has usually converged before


def codebook(values: Floats, size: int) -> Floats:
    """The centroids of k-means, ascending.

    The initial centroids are spread evenly over the range, so that the few large values keep theirs
    (section 3.2). For [0, 1, 9, 10] and two centroids they are 0 and 10, and become 0.5 and 9.5.

    Args:
        values: (N,) values.
        size: Largest number of centroids; empty ones are left out.
    """
    ordered = np.sort(values)
    distinct = np.unique(ordered)
    if len(distinct) <= size:
        return distinct
    sums = np.concatenate([np.zeros(1), np.cumsum(ordered)])  # sum of a cluster is a difference
    centroids = np.linspace(ordered[0], ordered[-1], size)
    for _ in range(_ITERATIONS):
        borders = np.searchsorted(ordered, _midpoints(centroids), side="right")
        borders = np.concatenate([[0], borders, [len(ordered)]])
        counts = np.diff(borders)
        used = counts > 0
        means = np.diff(sums[borders])[used] / counts[used]
        if len(means) == len(centroids) and np.array_equal(means, centroids):
            break
        centroids = means
    return centroids


def nearest_centroid(values: Floats, centroids: Floats) -> Indices:
    """The index of the nearest centroid of each value; the centroids ascend."""
    return np.searchsorted(_midpoints(centroids), values, side="right")


def cheapest(
    values: Floats, centroids: Floats, price: float, rounds: int = 20
) -> tuple[Indices, Floats]:
    """Centroids by squared distance plus price of the code (Chou, Lookabaugh and Gray 1989, eq. 4).

    Args:
        values: (N,) values.
        centroids: Initial centroids, ascending; a centroid of 0 stays 0.
        price: Price of a bit, in units of the squared values.
        rounds: Largest number of rounds of assigning and averaging; rare centroids become empty and
            are left out.

    Returns:
        The index of the centroid of each value, and the centroids, ascending.
    """
    assigned = nearest_centroid(values, centroids)
    for _ in range(rounds):
        counts = np.bincount(assigned, minlength=len(centroids))
        used = counts > 0
        sums = np.bincount(assigned, weights=values, minlength=len(centroids))
        means = sums[used] / counts[used]
        moved = np.where(centroids[used] == 0, 0.0, means)
        order = np.argsort(moved, kind="stable")  # the mean of a neighbour may pass 0, which stays
        centroids = moved[order]
        prices = -price * np.log2(counts[used][order] / len(values))
        cheaper = _cheapest_centroid(values, centroids, prices)
        if np.array_equal(cheaper, assigned):
            break
        assigned = cheaper
    used = np.bincount(assigned, minlength=len(centroids)) > 0
    new_index = np.cumsum(used) - 1
    return new_index[assigned], centroids[used]


def _cheapest_centroid(values: Floats, centroids: Floats, prices: Floats) -> Indices:
    """The index of the centroid with the least squared distance plus price, for each value.

    The squared distances differ by straight lines, and the lowest ones form an envelope: each centroid is
    the cheapest between two borders, or nowhere.

    Args:
        values: (N,) values.
        centroids: (K,) centroids, ascending.
        prices: (K,) price of each.
    """
    lowest, borders = [0], [-math.inf]
    for index in range(1, len(centroids)):
        border = _border(centroids, prices, lowest[-1], index)
        while len(lowest) > 1 and border <= borders[-1]:
            lowest.pop()
            borders.pop()
            border = _border(centroids, prices, lowest[-1], index)
        lowest.append(index)
        borders.append(border)
    places = np.searchsorted(np.array(borders[1:]), values, side="left")
    return np.array(lowest)[places]


def _border(centroids: Floats, prices: Floats, lower: int, upper: int) -> float:
    """The value beyond which the upper of two centroids is the cheaper one."""
    distance = centroids[upper] - centroids[lower]
    if distance == 0:
        return math.inf if prices[upper] >= prices[lower] else -math.inf
    middle = (centroids[upper] + centroids[lower]) / 2
    return float(middle + (prices[upper] - prices[lower]) / (2 * distance))


def _midpoints(centroids: Floats) -> Floats:
    """The borders between neighbouring centroids."""
    borders: Floats = (centroids[1:] + centroids[:-1]) / 2
    return borders
