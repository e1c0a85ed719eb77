"""Layers on which the loss depends little lose more of their weights (Han et al. 2015, section 3)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.budgets import Layer, Limit, Portion, Problem, sensitivity
from espalier.pruning.costs import cost, products

_PORTIONS = 50  # of a layer: more portions come nearer to the fraction

Mask = NDArray[np.bool_]


def by_sensitivity(
    scores: NDArray[np.float64],
    layer: NDArray[np.int64],
    fraction: float,
    loss: Callable[[Mask], float],
) -> Mask:
    """The weights that stay when a fraction of all goes, with the smallest rise of the loss.

    Each layer loses portions of weights, lowest scores first; the budget `sensitivity` measures
    the rise of the loss.

    Args:
        scores: (count,) score of each weight.
        layer: (count,) layer of each weight; the best of every layer stays.
        fraction: fraction in [0, 1].
        loss: loss of the network as a function of the kept weights (count,).

    Returns:
        (count,)
    """
    portions: list[NDArray[np.int64]] = []
    layers = []
    for number in np.unique(layer):
        parts = _parts(np.flatnonzero(layer == number), scores)
        numbers = range(len(portions), len(portions) + len(parts))
        layers.append(Layer(len(parts) + 1, [_unmeasured(number) for number in numbers], 0.0))
        portions += parts

    def weights(left: Mask) -> Mask:
        """The kept weights if some portions are left."""
        kept = np.ones(len(scores), bool)
        for number in np.flatnonzero(~left):
            kept[portions[number]] = False
        return kept

    terms = [[(1, np.array([number]))] for number in range(len(portions))]
    price = products([len(part) for part in portions])
    remaining = cost("weights", len(portions), terms, price).with_whole(len(scores))
    limit = Limit.of(remaining, (1 - fraction) * len(scores))
    problem = Problem(len(portions), layers, (limit,), loss=lambda left: loss(weights(left)))
    return weights(sensitivity(problem))


def _parts(members: NDArray[np.int64], scores: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """Portions of a layer's weights, lowest scores first, without the best weight."""
    ascending = members[np.argsort(scores[members], kind="stable")][:-1]
    return [part for part in np.array_split(ascending, _PORTIONS) if len(part)]


def _unmeasured(number: int) -> Portion:
    return Portion(np.array([number]), importance=0.0, highest=0.0)
