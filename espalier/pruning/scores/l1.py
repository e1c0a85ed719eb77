"""The sum of the sizes of the weights that make a group (Li et al. 2017, section 3.1)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.relative import relative
from espalier.pruning.scores.score import Losses


def l1(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """The L1 norm of each group's rows, scales and shifts, relative to the mean of its layer."""
    del losses
    sizes = {name: parameter.detach().abs() for name, parameter in network.named_parameters()}
    return relative(groups.sum_over_producers(sizes), groups)
