"""Weight sharing: the numbers of every weight become few different ones, so that they pack small."""

import copy
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from espalier.coding.codebooks import cheapest, codebook, nearest
from espalier.errors import BadInput
from espalier.models.structure import (
    Shared,
    masked_weights,
    record,
    set_masked_weights,
    shared_weights,
)

_HALF = 10  # digits behind the binary point of a float16
Vectors = Literal["float32", "half", "shared"]


@dataclass(frozen=True)
class Bits:
    """How many bits the index of a centroid has, by the kind of layer.

    Attributes:
        conv: Of convolutions.
        linear: Of all others.
    """

    conv: int
    linear: int

    def __post_init__(self) -> None:
        """Refuse what makes no codebook."""
        for name, value in (("conv", self.conv), ("linear", self.linear)):
            if not 1 <= value <= 12:
                raise BadInput(f"`bits` for {name} should lie in 1..12. Found {value}.")


def share(
    network: nn.Module, *, bits: int | Bits = 4, price: float = 0.0, vectors: Vectors = "half"
) -> nn.Module:
    """Give every weight a codebook of 2 ** bits centroids by k-means; zeros stay zeros, and are not in it.

    Args:
        network: It is left as it is.
        bits: Of an index, everywhere or by the kind of layer.
        price: Of a bit, in mean squares of the weight's numbers: what is rare then moves to a centroid that is not, or
            to zero, where that costs less. 0 takes the nearest centroid.
        vectors: Biases and what else has one dimension: left, rounded to half the digits, or shared as well.

    Returns:
        A new network, in which it is noted which weights are shared and which have zeros: both stay so in training.

    Raises:
        BadInput: If an argument is out of range.
    """
    bits = Bits(bits, bits) if isinstance(bits, int) else bits
    if price < 0:
        raise BadInput(f"`price` should be at least 0. Found `price = {price}`.")
    shared = copy.deepcopy(network)
    kinds = {
        id(parameter): bits.conv if isinstance(layer, nn.modules.conv._ConvNd) else bits.linear
        for layer in shared.modules()
        for parameter in layer.parameters(recurse=False)
    }
    names = []
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if parameter.ndim > 1 or vectors == "shared":
                parameter.copy_(_shared(parameter, 2 ** kinds[id(parameter)], price))
                names.append(name)
    record_shared(shared, names)
    if vectors == "half":
        round_vectors(shared)
    return shared


@torch.no_grad()
def shorten(network: nn.Module) -> None:
    """Round the centroids of shared weights to half the digits, in place; equal ones stay equal."""
    parameters = dict(network.named_parameters())
    for name in shared_weights(network):
        parameters[name].copy_(rounded(parameters[name], _HALF))


@torch.no_grad()
def round_vectors(network: nn.Module) -> None:
    """Round what has one dimension and is not shared to half the digits, in place."""
    for name, parameter in network.named_parameters():
        if parameter.ndim <= 1 and name not in shared_weights(network):
            parameter.copy_(rounded(parameter, _HALF))


def rounded(value: Tensor, digits: int) -> Tensor:
    """The nearest numbers with so many digits behind the binary point; a negative zero becomes positive."""
    fraction, exponent = torch.frexp(value)
    return torch.ldexp((fraction * 2 ** (digits + 1)).round(), exponent - (digits + 1)) + 0.0


def _shared(weight: Tensor, size: int, price: float) -> Tensor:
    flat = weight.detach().cpu().double().numpy().ravel()
    used = flat[flat != 0]
    if not len(used):
        return weight + 0.0
    centroids = codebook(used, size)
    if price:
        centroids[np.abs(centroids).argmin()] = 0.0  # what is rare can become zero
        chosen, centroids = cheapest(flat, centroids, price * float(np.mean(used**2)))
        flat = np.where(flat == 0, 0, centroids[chosen])
    else:
        flat[flat != 0] = centroids[nearest(used, centroids)]
    return rounded(torch.from_numpy(flat).float(), _HALF).to(weight.device).view(weight.shape)


def record_shared(network: nn.Module, names: list[str]) -> None:
    """Record weights as shared, and as masked those of them that have zeros now."""
    parameters = dict(network.named_parameters())
    others = [name for name in masked_weights(network) if name not in names]
    with_zeros = [name for name in names if (parameters[name] == 0).any()]
    set_masked_weights(network, [*others, *with_zeros])
    record(network, Shared(tuple(names)))
