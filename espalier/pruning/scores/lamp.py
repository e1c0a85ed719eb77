"""Layer-adaptive magnitude (LAMP, Lee et al. 2021, eq. 3)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses


def lamp(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """The square of a weight over the sum of the squares in its layer that are no smaller.

    So the largest of every layer scores one, and one global threshold empties none. For groups of weights the squares
    are those of their norms.
    """
    del losses
    squares = groups.sum_over_producers(
        {name: parameter.detach() ** 2 for name, parameter in network.named_parameters()}
    )
    scores = np.zeros(groups.count)
    order = np.lexsort((squares, groups.layer))
    for members in np.split(order, np.flatnonzero(np.diff(groups.layer[order])) + 1):
        ascending = squares[members]
        no_smaller = np.cumsum(ascending[::-1])[::-1][np.searchsorted(ascending, ascending)]
        scores[members] = ascending / np.maximum(no_smaller, np.finfo(float).tiny)
    return scores
