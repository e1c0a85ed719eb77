"""Filter pruning via the geometric median (He et al. 2019, eqs. 4 to 7)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses, normalize_by_layer


@torch.no_grad()
def geometric_median(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The sum of a filter's distances to all filters of its weight, over the mean of its layer.

    Filters near all others can be replaced by them, however large they are. The distances of all
    weights that produce a group are added.
    """
    del losses
    distances = {
        name: _distances(weight.detach())
        for name, weight in network.named_parameters()
        if weight.ndim > 1 and groups.producers(name, weight.shape) is not None
    }
    return normalize_by_layer(groups.sum_over_producers(distances), groups)


def _distances(weight: Tensor) -> Tensor:
    """The sum of each filter's distances to all filters, spread over its elements."""
    filters = weight.flatten(1).double()
    each = torch.cdist(filters, filters).sum(1) / filters.shape[1]
    return each.reshape(-1, *(1 for _ in weight.shape[1:])).expand(weight.shape)
