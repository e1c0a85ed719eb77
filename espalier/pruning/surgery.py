"""Cutting: a new network without the units that go."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.models.attention import own_attention
from espalier.models.fit import refresh, resize
from espalier.pruning.units import Units


def cut(network: nn.Module, units: Units, kept: NDArray[np.bool_]) -> nn.Module:
    """A copy of a network in which only the units in `kept` (count,) are left; the network itself is untouched."""
    smaller = copy.deepcopy(network)
    own_attention(smaller)
    state = smaller.state_dict()
    for name, dims in units.where.items():
        value = state[name]
        for dim, unit in dims.items():
            stays = (unit < 0) | kept[unit]
            if not stays.all():
                value = value.index_select(dim, torch.from_numpy(np.flatnonzero(stays)).to(value.device))
        if value.shape != state[name].shape:
            resize(smaller, name, value.clone())
    for module in smaller.modules():
        refresh(module)
    return smaller
