"""First-order Taylor expansion of the loss (Molchanov et al. 2019, eq. 8)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.gradients import mean_squared_change
from espalier.pruning.scores.score import Losses


def taylor(network: nn.Module, groups: Groups, losses: Losses | None = None) -> NDArray[np.float64]:
    """The squared first-order change of the loss without a group, averaged over batches.

    Raises:
        BadInput: if there are no losses to differentiate.
    """
    return mean_squared_change(network, groups, losses, "taylor")
