"""L1 norm: the sum of the absolute weights of a group (Li et al. 2017, section 3.1)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses, normalize_by_layer


def l1(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """The L1 norm of the producers of each group, divided by the mean of its layer."""
    del losses
    absolute = {name: parameter.detach().abs() for name, parameter in network.named_parameters()}
    return normalize_by_layer(groups.sum_over_producers(absolute), groups)
