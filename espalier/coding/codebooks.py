"""Weight sharing: few different numbers per tensor, found by k-means in one dimension (Han et al. 2016, section 3)."""

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 200  # of Lloyd's iteration, which mostly stands still before


def codebook(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """The centroids of k-means over numbers, begun evenly over their range, which keeps the large ones (section 3.2).

    Args:
        values: Of shape (N,).
        size: How many centroids there may be; empty ones are left out.

    Returns:
        The centroids, ascending.
    """
    ordered = np.sort(values)
    distinct = np.unique(ordered)
    if len(distinct) <= size:
        return distinct
    centroids = np.linspace(ordered[0], ordered[-1], size)
    sums = np.concatenate([np.zeros(1), np.cumsum(ordered)])
    for _ in range(_ROUNDS):
        ends = np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2, side="right")
        ends = np.concatenate([[0], ends, [len(ordered)]])
        counts = np.diff(ends)
        used = counts > 0
        moved = np.diff(sums[ends])[used] / counts[used]
        if len(moved) == len(centroids) and np.array_equal(moved, centroids):
            break
        centroids = moved
    return centroids


def nearest(values: NDArray[np.float64], centroids: NDArray[np.float64]) -> NDArray[np.int64]:
    """The index of the nearest centroid of each number."""
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values, side="right")


def cheapest(
    values: NDArray[np.float64], centroids: NDArray[np.float64], price: float, rounds: int = 20
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Centroids chosen by squared distance plus the price of their bits (Chou, Lookabaugh and Gray 1989, eq. 4).

    Args:
        values: Of shape (N,).
        centroids: To begin with, ascending; one that is 0 stays 0.
        price: Of a bit, in units of the squared values.
        rounds: Of choosing and moving in turn; rare centroids empty and are left out.

    Returns:
        The index of the centroid of each number, and the centroids, ascending.
    """
    chosen = nearest(values, centroids)
    for _ in range(rounds):
        counts = np.bincount(chosen, minlength=len(centroids))
        used = counts > 0
        means = np.bincount(chosen, weights=values, minlength=len(centroids))[used] / counts[used]
        centroids = np.where(centroids[used] == 0, 0.0, means)
        lengths = -np.log2(counts[used] / len(values))
        costs = [
            (values - centroid) ** 2 + price * length
            for centroid, length in zip(centroids, lengths, strict=True)
        ]
        moved = np.argmin(costs, 0)
        if np.array_equal(moved, chosen):
            break
        chosen = moved
    used = np.bincount(chosen, minlength=len(centroids)) > 0
    return (np.cumsum(used) - 1)[chosen], centroids[used]
