"""Magnitude: the norm of the producers of a group (Han et al. 2015; Fang et al. 2023 over all)."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses, normalize_by_layer


def magnitude(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The L2 norm of the producers of each group, divided by the mean of its layer."""
    del losses
    squares = {name: parameter.detach() ** 2 for name, parameter in network.named_parameters()}
    norms = np.sqrt(groups.sum_over_producers(squares))
    return normalize_by_layer(norms, groups)
