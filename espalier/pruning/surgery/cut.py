"""The cut: a copy of a network without some of its dependency groups."""

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from espalier.models.attention import make_attention_prunable, set_attention_heads
from espalier.models.structure import refresh_sizes, replace_tensor
from espalier.pruning.groups import DependencyGroups, stay_with


def cut(network: nn.Module, groups: DependencyGroups, kept: NDArray[np.bool_]) -> nn.Module:
    """A copy of a network in which only the groups in `kept` (count,) are left.

    Args:
        network: the network; it is not changed.
        groups: its dependency groups.
        kept: (count,) whether each group stays.
    """
    smaller = copy.deepcopy(network)
    make_attention_prunable(smaller)
    heads = {name: int(stay_with(group, kept).sum()) for name, group in groups.attention.items()}
    set_attention_heads(smaller, heads)
    state = smaller.state_dict()
    for name, dims in groups.where.items():
        value = _narrowed(state[name], dims, kept)
        if value.shape != state[name].shape:
            replace_tensor(smaller, name, value.clone())
    for module in smaller.modules():
        refresh_sizes(module)
    return smaller


def _narrowed(
    value: torch.Tensor, dims: dict[int, NDArray[np.int64]], kept: NDArray[np.bool_]
) -> torch.Tensor:
    for dim, group in dims.items():
        stays = stay_with(group, kept)
        if not stays.all():
            indices = torch.from_numpy(np.flatnonzero(stays)).to(value.device)
            value = value.index_select(dim, indices)
    return value
