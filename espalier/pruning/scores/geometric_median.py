"""Filter pruning via geometric median (He et al. 2019, eqs. 4 to 7)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.relative import relative
from espalier.pruning.scores.score import Losses


@torch.no_grad()
def geometric_median(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The sum of a filter's distances to all filters of its weight, relative to the mean of its layer.

    What is near to all others can be made up for by them, however large it is. Where several weights make a group,
    its distances are added.
    """
    del losses
    distances = {}
    for name, weight in network.named_parameters():
        if weight.ndim > 1 and groups.makers(name, weight.shape) is not None:
            filters = weight.detach().flatten(1).double()
            each = torch.cdist(filters, filters).sum(1) / filters.shape[1]
            distances[name] = each.reshape(-1, *(1 for _ in weight.shape[1:])).expand(weight.shape)
    return relative(groups.sum_over_producers(distances), groups)
