"""Threshold: the distance of weights to zero, in their own unit."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses


def threshold(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The root mean square of the producers of a group; the absolute value of a single weight."""
    del losses
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}
    squares = groups.sum_over_producers({name: weight**2 for name, weight in weights.items()})
    ones = {name: torch.ones_like(weight) for name, weight in weights.items()}
    count = groups.sum_over_producers(ones)
    return np.sqrt(squares / np.maximum(count, 1))
