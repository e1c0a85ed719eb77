"""Filter pruning via the geometric median (He et al. 2019, eqs. 4 to 7)."""

from collections.abc import Sequence

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
    distances = {}
    for name, weight in network.named_parameters():
        produced = groups.producers(name, weight.shape)
        if weight.ndim > 1 and produced is not None:
            distances[name] = _distances(weight.detach(), _dimension(produced.shape))
    return normalize_by_layer(groups.sum_over_producers(distances), groups)


def _dimension(produced: Sequence[int]) -> int:
    """The dimension along which filters lie: the columns of an embedding, else the rows."""
    along = [dim for dim, size in enumerate(produced) if size > 1]
    return along[0] if len(along) == 1 else 0


def _distances(weight: Tensor, dim: int) -> Tensor:
    """The sum of each filter's distances to all filters, spread over its elements."""
    filters = weight.movedim(dim, 0).flatten(1).double()
    each = torch.cdist(filters, filters).sum(1) / filters.shape[1]
    shape = [-1 if other == dim else 1 for other in range(weight.ndim)]
    return each.reshape(shape).expand(weight.shape)
