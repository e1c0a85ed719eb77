"""Cutting: a new network without the units that go."""

import copy
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.models.attention import make_attention_prunable, set_attention_heads
from espalier.models.structure import refresh_sizes, replace_tensor

if TYPE_CHECKING:
    from espalier.pruning.dependency_groups import DependencyGroups


def cut(network: nn.Module, units: "DependencyGroups", kept: NDArray[np.bool_]) -> nn.Module:
    """A copy of a network in which only the units in `kept` (count,) are left; the network itself is untouched."""
    smaller = copy.deepcopy(network)
    make_attention_prunable(smaller)
    set_attention_heads(
        smaller, {name: int(_stays(unit, kept).sum()) for name, unit in units.attention.items()}
    )
    state = smaller.state_dict()
    for name, dims in units.where.items():
        value = state[name]
        for dim, unit in dims.items():
            stays = _stays(unit, kept)
            if not stays.all():
                value = value.index_select(
                    dim, torch.from_numpy(np.flatnonzero(stays)).to(value.device)
                )
        if value.shape != state[name].shape:
            replace_tensor(smaller, name, value.clone())
    for module in smaller.modules():
        refresh_sizes(module)
    return smaller


def _stays(unit: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    stays = unit < 0
    stays[~stays] = kept[unit[~stays]]
    return stays
