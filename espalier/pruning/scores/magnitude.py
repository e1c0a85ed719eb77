"""The norm of the weights that make a group (Han et al. 2015; over all coupled filters, as Fang et al. 2023)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.relative import relative
from espalier.pruning.scores.score import Losses


def magnitude(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The L2 norm of each group's rows, scales and shifts, relative to the mean of its layer."""
    del losses
    squares = {name: parameter.detach() ** 2 for name, parameter in network.named_parameters()}
    return relative(np.sqrt(groups.sum_over_producers(squares)), groups)
