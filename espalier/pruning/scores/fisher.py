"""Fisher pruning (Theis et al. 2018, eqs. 5 to 7)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.gradients import mean_squared_change
from espalier.pruning.scores.score import Losses


def fisher(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """The second-order change of the loss without a group, by the empirical Fisher information.

    It is half the mean over *examples* of the squared derivative along a factor on the group. At a
    minimum the gradients of the examples in a batch cancel, and with them the score `taylor`; their
    squares do not cancel.

    Args:
        network: a network in evaluation mode.
        groups: groups to score.
        losses: yields the loss of one example at a time; given batches, the result is half of
            `taylor`.

    Raises:
        BadInput: if there are no losses to differentiate.
    """
    return mean_squared_change(network, groups, losses, "fisher") / 2
