"""Codebooks for all weights of a network, so that it packs small (Han et al. 2016, section 3)."""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from espalier.coding.codebooks import cheapest, codebook, nearest_centroid
from espalier.errors import BadInput
from espalier.models.structure import (
    Shared,
    masked_weights,
    record,
    set_masked_weights,
    shared_weights,
)

_HALF_DIGITS = 10  # binary digits of a float16 behind the point
Vectors = Literal["float32", "half", "shared"]


@dataclass(frozen=True)
class Bits:
    """Number of bits of a codebook's index, by the kind of layer.

    Attributes:
        conv: Bits for the weights of convolutions.
        linear: Bits for all other weights.
    """

    conv: int
    linear: int

    def __post_init__(self) -> None:
        """Check the range."""
        for name, value in (("conv", self.conv), ("linear", self.linear)):
            if value not in range(1, 13):
                raise BadInput(f"Expected `bits` for {name} in 1..12; found {value}.")


def share(
    network: nn.Module, *, bits: int | Bits = 4, price: float = 0.0, vectors: Vectors = "half"
) -> nn.Module:
    """Give every weight a codebook of 2 ** bits centroids by k-means; zeros stay zero.

    Args:
        network: Network; it is left as it is.
        bits: Bits of an index, for all weights or by the kind of layer.
        price: Price of a bit, in mean squares of the weight's elements: rare elements move to a
            common centroid, or to zero, where that costs less. 0 assigns each element to the
            nearest centroid.
        vectors: Treatment of parameters of one dimension, as biases: left as they are, rounded to
            half the digits, or shared as well.

    Returns:
        A new network. Its shared weights, and those with zeros, are recorded, so that training
        keeps both.

    Raises:
        BadInput: If an argument is out of range.
    """
    bits = bits if isinstance(bits, Bits) else Bits(bits, bits)
    if not 0 <= price < math.inf:
        raise BadInput(f"Expected `price` of at least 0; found {price}.")
    if vectors not in get_args(Vectors):
        raise BadInput(
            f"Expected `vectors` among {', '.join(get_args(Vectors))}; found {vectors!r}."
        )
    shared = copy.deepcopy(network)
    bits_of = _bits_by_parameter(shared, bits)
    names = []
    with torch.no_grad():
        for name, parameter in shared.named_parameters():
            if parameter.ndim > 1 or vectors == "shared":
                size = 2 ** bits_of[id(parameter)]
                parameter.copy_(_with_codebook(parameter, size, price))
                names.append(name)
    record_shared(shared, names)
    if vectors == "half":
        round_vectors(shared)
    return shared


def _bits_by_parameter(network: nn.Module, bits: Bits) -> dict[int, int]:
    """The bits of each parameter, by its identity; the last layer decides for a tied one."""
    found = {}
    for layer in network.modules():
        is_convolution = isinstance(layer, nn.modules.conv._ConvNd)
        for parameter in layer.parameters(recurse=False):
            found[id(parameter)] = bits.conv if is_convolution else bits.linear
    return found


@torch.no_grad()
def round_centroids(network: nn.Module) -> None:
    """Round the centroids of shared weights to half the digits, in place."""
    parameters = dict(network.named_parameters())
    for name in shared_weights(network):
        parameters[name].copy_(rounded(parameters[name], _HALF_DIGITS))


@torch.no_grad()
def round_vectors(network: nn.Module) -> None:
    """Round parameters of one dimension that are not shared to half the digits, in place."""
    shared = shared_weights(network)
    for name, parameter in network.named_parameters():
        if parameter.ndim <= 1 and name not in shared:
            parameter.copy_(rounded(parameter, _HALF_DIGITS))


def rounded(value: Tensor, digits: int) -> Tensor:
    """The nearest values of so many binary digits; a negative zero becomes positive."""
    fraction, exponent = torch.frexp(value)  # the fraction is in [0.5, 1): one digit more
    scaled = (fraction * 2 ** (digits + 1)).round()
    return torch.ldexp(scaled, exponent - (digits + 1)) + 0.0


def record_shared(network: nn.Module, names: Sequence[str]) -> None:
    """Record weights as shared, and as masked those of them that have zeros now."""
    parameters = dict(network.named_parameters())
    others = [name for name in masked_weights(network) if name not in names]
    with_zeros = [name for name in names if (parameters[name] == 0).any()]
    set_masked_weights(network, [*others, *with_zeros])
    record(network, Shared(tuple(names)))


def _with_codebook(weight: Tensor, size: int, price: float) -> Tensor:
    """The weight with every element that is not zero moved to one of `size` centroids."""
    flat = weight.detach().cpu().double().numpy().ravel()
    used = flat[flat != 0]
    if not len(used):
        return weight + 0.0
    centroids = codebook(used, size)
    if price:
        centroids[np.abs(centroids).argmin()] = 0.0  # rare elements can become zero
        assigned, centroids = cheapest(flat, centroids, price * float(np.mean(used**2)))
        flat = np.where(flat == 0, 0, centroids[assigned])
    else:
        flat[flat != 0] = centroids[nearest_centroid(used, centroids)]
    values = rounded(torch.from_numpy(flat).float(), _HALF_DIGITS)
    return values.to(weight.device).view(weight.shape)
