"""Layer-adaptive magnitude (LAMP, Lee et al. 2021, eq. 3)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses


def lamp(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """The square of a weight over the sum of the squares in its layer that are no smaller.

    The largest weight of every layer scores one, so that one global threshold empties no layer. For
    groups of weights the squares are those of their norms.

    Example:
        Weights (1, 2, 2) of a layer: (1 / 9, 4 / 8, 4 / 8).
    """
    del losses
    elements = {name: parameter.detach() ** 2 for name, parameter in network.named_parameters()}
    squares = groups.sum_over_producers(elements)
    scores = np.zeros(groups.count)
    order = np.lexsort((squares, groups.layer))
    borders = np.flatnonzero(np.diff(groups.layer[order])) + 1
    for members in np.split(order, borders):
        ascending = squares[members]
        sums_from = np.cumsum(ascending[::-1])[::-1]
        no_smaller = sums_from[np.searchsorted(ascending, ascending)]
        scores[members] = ascending / np.maximum(no_smaller, np.finfo(float).tiny)
    return scores
