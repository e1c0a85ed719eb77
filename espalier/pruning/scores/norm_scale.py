"""Network slimming (Liu et al. 2017): the scale that a norm gives to a channel."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.errors import BadInput
from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses

_NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.modules.instancenorm._InstanceNorm,
)


def norm_scale(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """The absolute scale of the norm after a group; the mean over several norms.

    Groups without a norm score infinity, because nothing is known of them: they stay.

    Raises:
        BadInput: if no group passes a norm.
    """
    del losses
    scales = {
        f"{name}.weight": norm.weight.detach().abs()
        for name, norm in network.named_modules()
        if isinstance(norm, _NORMS) and norm.weight is not None
    }
    ones = {name: torch.ones_like(scale) for name, scale in scales.items()}
    norms = groups.sum_over_producers(ones)
    if not norms.any():
        raise BadInput("Expected norms with a scale for `score: norm_scale`; found none.")
    mean = groups.sum_over_producers(scales) / np.maximum(norms, 1)
    return np.where(norms > 0, mean, np.inf)
