"""Distance to zero: what is smaller than an absolute threshold goes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses


def threshold(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The root mean square of a group's weights: of a single weight its size, in the weight's own unit."""
    del losses
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    squares = groups.sum_over_producers({name: weight**2 for name, weight in weights.items()})
    count = groups.sum_over_producers(
        {name: torch.ones_like(weight) for name, weight in weights.items()}
    )
    return np.sqrt(squares / np.maximum(count, 1))
