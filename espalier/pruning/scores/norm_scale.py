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
    """The size of the scale that follows normalisation, the mean of them where a group passes several norms.

    Groups that pass none stay: nothing is known of them.

    Raises:
        BadInput: If no group passes a norm.
    """
    del losses
    scales = {
        f"{name}.weight": norm.weight.detach().abs()
        for name, norm in network.named_modules()
        if isinstance(norm, _NORMS) and norm.weight is not None
    }
    passed = groups.sum_over_producers(
        {name: torch.ones_like(scale) for name, scale in scales.items()}
    )
    if not passed.any():
        raise BadInput(
            "The score `norm_scale` should be asked of a network with norms that scale. Found none."
        )
    return np.where(passed > 0, groups.sum_over_producers(scales) / np.maximum(passed, 1), np.inf)
