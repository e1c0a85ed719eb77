"""Fisher pruning (Theis et al. 2018, eqs. 5 to 7)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.gradients import mean_squared_change
from espalier.pruning.scores.score import Losses


def fisher(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """The second-order change of the loss if a group were nothing, with the empirical Fisher information as Hessian.

    It is half the mean over *examples* of the squared derivative along a factor on the group. At a minimum the
    gradients of examples cancel in a batch, and with them what `taylor` sees; their squares do not.

    Args:
        network: In evaluation mode.
        groups: What is scored.
        losses: Yields the loss of one example at a time. Given batches, it is `taylor` but for the factor.

    Raises:
        BadInput: If there are no losses to differentiate.
    """
    return mean_squared_change(network, groups, losses, "fisher") / 2
