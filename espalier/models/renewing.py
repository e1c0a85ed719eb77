"""Networks of a given shape with new weights."""

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.architecture import Architecture
from espalier.models.rebuilding import build_unedited, rebuild
from espalier.models.structure import Masked, Shared
from espalier.models.structure.resizing import CONVOLUTIONS


@torch.no_grad()
def with_new_weights(
    architecture: Architecture, *, seed: int, trusted: Collection[str] = ()
) -> nn.Module:
    """A network of an architecture, with weights as its factory draws them.

    A narrowed layer gets a part of the weights that the factory draws for the whole one. Those of
    convolutions and linear layers are scaled by the root of the ratio of their inputs, so that outputs
    vary as much as in the whole network.

    Args:
        architecture: architecture, with all edits since the factory built it.
        seed: seed of the weights.
        trusted: packages beside espalier and torchvision whose functions may build the network.

    Raises:
        BadInput: if single weights are masked or shared: they have no shape of their own.

    Example:
        Of a layer of 64 inputs, 16 are left: its weights are drawn for 64, and doubled.
    """
    if any(isinstance(edit, Masked | Shared) for edit in architecture.edits):
        raise BadInput(
            "Expected a network from which whole groups were removed; found one with masked or "
            "shared weights, which new weights would not be: begin from its parent."
        )
    whole = build_unedited(architecture, trusted, seed).state_dict()
    network = rebuild(architecture, trusted, seed)
    weights = {f"{name}.weight" for name, layer in network.named_modules() if _is_product(layer)}
    for name, value in network.state_dict().items():
        drawn = whole.get(name)
        if drawn is not None and drawn.ndim == value.ndim:
            value.copy_(_part(drawn, value, scaled=name in weights))
    return architecture.attach(network)


def _is_product(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Linear, *CONVOLUTIONS))


def _part(drawn: Tensor, value: Tensor, *, scaled: bool) -> Tensor:
    """The first part of a tensor, of the shape of another."""
    part = drawn[tuple(slice(size) for size in value.shape)]
    if not scaled or part.shape == drawn.shape:
        return part
    return part * math.sqrt(drawn[0].numel() / max(1, part[0].numel()))
