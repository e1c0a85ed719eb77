"""Several samples of the training data, for ranges that do not depend on one of them."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]


def _random(
    labels: Places, count: int, number: int, of: int, random: np.random.Generator
) -> Places:
    """A random draw."""
    return random.choice(len(labels), count, replace=False)


def _fold(labels: Places, count: int, number: int, of: int, random: np.random.Generator) -> Places:
    """A part of the split that shares no example with another fold, in the order of the split."""
    part = np.array_split(np.arange(len(labels)), of)[number]
    return random.choice(part, min(count, len(part)), replace=False)


def _proportions(
    labels: Places, count: int, number: int, of: int, random: np.random.Generator
) -> Places:
    """A draw with other class proportions, uniform over all possible ones (a flat Dirichlet)."""
    classes, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    share = random.dirichlet(np.ones(len(classes)))
    weight = (share / sizes)[inverse]
    possible = int((weight > 0).sum())
    return random.choice(len(labels), min(count, possible), replace=False, p=weight / weight.sum())


RESAMPLES: dict[str, Callable[[Places, int, int, int, np.random.Generator], Places]] = {
    "random": _random,
    "fold": _fold,
    "proportions": _proportions,
}


def resamples(labels: Places, count: int, number: int, seed: int) -> list[Places]:
    """Several samples: in turn a random draw, a fold, and one with other class proportions.

    Args:
        labels: labels (N,) of all examples.
        count: examples per sample, or all if there are fewer.
        number: number of samples.
        seed: seed of the draws.

    Returns:
        The indices of the examples of each sample, in ascending order.
    """
    kinds = list(RESAMPLES.values())
    found = []
    for one in range(number):
        random = np.random.default_rng((seed, one))
        places = kinds[one % len(kinds)](labels, min(count, len(labels)), one, number, random)
        found.append(np.sort(places))
    return found
