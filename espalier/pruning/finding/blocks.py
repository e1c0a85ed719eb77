"""Finding residual blocks."""

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from espalier.measures.macs import count_macs_of_layers
from espalier.models.blocks import residual_blocks
from espalier.models.layer_names import is_inside
from espalier.pruning.groups import BlockGroups


def find_blocks(network: nn.Module, example: Tensor, keep: tuple[str, ...] = ()) -> BlockGroups:
    """The residual blocks of a network that may be removed.

    Args:
        network: a network in evaluation mode.
        example: inputs (N, C, H, W) as the network sees them.
        keep: names of layers that stay; a block that contains one of them, or lies in one, stays.
    """
    shapes = {
        name: shape
        for name, shape in residual_blocks(network, example).items()
        if not any(_nested(name, layer) for layer in keep)
    }
    names = list(shapes)
    stages = {shape: number for number, shape in enumerate(dict.fromkeys(shapes.values()))}
    macs = count_macs_of_layers(network, names, example[:1])
    return BlockGroups(
        names=tuple(names),
        layer=np.array([stages[shapes[name]] for name in names], np.int64),
        owner=_blocks_of_parameters(network, names),
        macs=np.array([macs[name] for name in names], np.int64),
    )


def _nested(one: str, other: str) -> bool:
    """Whether one of two layers contains the other."""
    return is_inside(one, [other]) or is_inside(other, [one])


def _blocks_of_parameters(network: nn.Module, names: Iterable[str]) -> dict[str, int]:
    """The number of the block that contains each parameter, by the parameter's name."""
    parameters = [name for name, _ in network.named_parameters()]
    return {
        parameter: number
        for number, name in enumerate(names)
        for parameter in parameters
        if parameter.startswith(f"{name}.")
    }
