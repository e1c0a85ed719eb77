"""Layers on which the loss depends little lose more of their single weights (Han et al. 2015, section 3; measured)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.budgets import Layer, Portion, Problem, sensitivity
from espalier.pruning.costs import cost, products

_PORTIONS = 50  # of a layer: the finer, the nearer to the fraction that is asked for


def by_sensitivity(
    scores: NDArray[np.float64],
    layer: NDArray[np.int64],
    fraction: float,
    loss: Callable[[NDArray[np.bool_]], float],
) -> NDArray[np.bool_]:
    """Which weights stay when a fraction of all goes, so that the measured loss rises the least.

    Of each layer portions of weights go, lowest scores first; the budget `sensitivity` measures what they cost.

    Args:
        scores: (count,)
        layer: (count,) the layer of each: the best of every layer stays.
        fraction: In [0, 1].
        loss: Of the network in which only some weights (count,) are kept.

    Returns:
        (count,)
    """
    portions: list[NDArray[np.int64]] = []
    layers = []
    for number in np.unique(layer):
        members = np.flatnonzero(layer == number)
        ordered = members[np.argsort(scores[members], kind="stable")][:-1]
        parts = [part for part in np.array_split(ordered, _PORTIONS) if len(part)]
        numbers = range(len(portions), len(portions) + len(parts))
        layers.append(Layer(len(parts) + 1, [Portion(np.array([n]), 0.0, 0.0) for n in numbers]))
        portions += parts

    def weights(left: NDArray[np.bool_]) -> NDArray[np.bool_]:
        kept = np.ones(len(scores), bool)
        kept[
            np.concatenate([np.empty(0, np.int64), *(portions[n] for n in np.flatnonzero(~left))])
        ] = False
        return kept

    terms = [[(1, np.array([number]))] for number in range(len(portions))]
    there = cost(
        "weights", len(portions), terms, products([len(part) for part in portions])
    ).with_whole(len(scores))
    most = (1 - fraction) * len(scores)
    return weights(
        sensitivity(
            Problem(len(portions), layers, there, most, loss=lambda left: loss(weights(left)))
        )
    )
