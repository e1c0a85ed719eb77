"""Codebooks of few values per tensor, by one-dimensional k-means (Han et al. 2016, section 3)."""

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
        centroids = np.where(centroids[used] == 0, 0.0, means)
        lengths = -np.log2(counts[used] / len(values))
        costs = _costs(values, centroids, price * lengths)
        moved = np.argmin(costs, 0)
        if np.array_equal(moved, assigned):
            break
        assigned = moved
    used = np.bincount(assigned, minlength=len(centroids)) > 0
    new_index = np.cumsum(used) - 1
    return new_index[assigned], centroids[used]


def _midpoints(centroids: Floats) -> Floats:
    """The borders between neighbouring centroids."""
    borders: Floats = (centroids[1:] + centroids[:-1]) / 2
    return borders


def _costs(values: Floats, centroids: Floats, prices: Floats) -> list[Floats]:
    """The cost of each centroid for each value, (N,) per centroid."""
    costs = []
    for centroid, price in zip(centroids, prices, strict=True):
        costs.append((values - centroid) ** 2 + price)
    return costs
