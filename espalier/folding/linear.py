"""Consecutive linear layers multiplied into one."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from espalier.models.equivalence import check_equal_outputs, flush_denormals
from espalier.models.graph import Graph
from espalier.models.structure import (
    masked_weights,
    refresh_sizes,
    remove,
    replace_tensor,
    shared_weights,
)

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_LAYERS = (nn.Linear, *_CONVOLUTIONS)
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def fold_linears(network: nn.Module, example: Tensor) -> nn.Module:
    """Multiply consecutive linear layers into one, where the product is not larger.

    This contracts over-parameterised layers after training (Guo et al. 2020, section 3).

    Two linear layers `W2 (W1 x + b1) + b2` are one of weight `W2 W1` and bias `W2 b1 + b2`. So are
    two convolutions if the second is 1x1 without stride and padding; or if the first is, and the
    second has no padding or the first no bias. A pair stays if the product has more parameters or
    multiply-accumulates, as behind a bottleneck, and if a weight is masked or shared: a product
    keeps neither zeros nor codebooks.

    Args:
        network: Network that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.

    Returns:
        A new network in evaluation mode with equal outputs, and `nn.Identity` instead of the layers
        that are gone.

    Raises:
        BadInput: If the network cannot be traced, or has other outputs with the layers merged.
    """
    folded = copy.deepcopy(network).eval()
    while pairs := linears_to_fold(folded, example):
        merged: set[str] = set()
        for first, second in pairs:
            if first in merged or second in merged:
                continue  # of three consecutive layers the last one is merged in the next round
            _fold(folded, first, second)
            merged |= {first, second}
    flush_denormals(folded)
    check_equal_outputs(network, folded, example)
    return folded


def linears_to_fold(network: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """The names of the layers that can be multiplied into one, pair by pair in their order.

    Raises:
        BadInput: If the network cannot be traced.
    """
    held_weights = (*masked_weights(network), *shared_weights(network))
    held = {name.rpartition(".")[0] for name in held_weights}
    pairs = []
    for first, second in _consecutive(Graph(network, example)):
        if first.name in held or second.name in held:
            continue
        if _have_product(first.layer, second.layer) and _product_is_cheaper(first, second):
            pairs.append((first.name, second.name))
    return pairs


@dataclass(frozen=True)
class _Call:
    """The call of a layer.

    Attributes:
        name: Name of the layer.
        layer: The layer.
        places: Number of positions of an example at which the layer's weight is applied.
    """

    name: str
    layer: Layer
    places: int


def _consecutive(graph: Graph) -> Iterator[tuple[_Call, _Call]]:
    """Pairs of layers: the second reads only the first, and nothing else reads the first."""
    for after in graph.nodes:
        second = graph.layer_of(after, _LAYERS)
        if second is None:
            continue
        before: Any = after.args[0]
        first = graph.layer_of(before, _LAYERS)
        if first is None or len(before.users) != 1:
            continue
        if graph.operator(before) != graph.operator(after):
            continue
        assert isinstance(first[1], _LAYERS)
        assert isinstance(second[1], _LAYERS)
        yield (
            _Call(first[0], first[1], graph.places(before)),
            _Call(second[0], second[1], graph.places(after)),
        )


def _have_product(first: Layer, second: Layer) -> bool:
    """Whether two layers are one: linear ones always, convolutions if one only mixes channels."""
    if isinstance(first, nn.Linear) or isinstance(second, nn.Linear):
        return True
    if first.groups > 1 or second.groups > 1:
        return False
    if _is_pointwise(second):
        return True
    has_padding = second.padding == "same" or any(second.padding)
    has_bias = first.bias is not None and bool(first.bias.any())
    # padding comes after the first layer's bias, and would come before it in the product
    return _is_pointwise(first) and not (has_padding and has_bias)


def _is_pointwise(layer: Layer) -> bool:
    """Whether a convolution maps each position by itself, all of them."""
    assert isinstance(layer, _CONVOLUTIONS)
    padding = (0,) if isinstance(layer.padding, str) else layer.padding
    return max(layer.kernel_size) == max(layer.stride) == 1 and not any(padding)


def _product_is_cheaper(first: _Call, second: _Call) -> bool:
    """Whether the product has no more parameters and no more multiply-accumulates than both."""
    one = first.layer.weight
    other = second.layer.weight
    kernel = max(one[0, 0].numel(), other[0, 0].numel())
    elements = len(other) * one.shape[1] * kernel
    has_bias = first.layer.bias is not None or second.layer.bias is not None
    biases = len(other) if has_bias else 0
    if elements + biases > _parameters(first.layer) + _parameters(second.layer):
        return False
    in_place_of_first = _product_replaces_first(first.layer, second.layer)
    places = first.places if in_place_of_first else second.places
    macs = one.numel() * first.places + other.numel() * second.places
    return bool(elements * places <= macs)


def _parameters(layer: Layer) -> int:
    return sum(value.numel() for value in layer.parameters(recurse=False))


def _product_replaces_first(first: Layer, second: Layer) -> bool:
    """Whether the product takes the place of the first layer: the one with kernel and stride."""
    return isinstance(first, nn.Linear) or _is_pointwise(second)


@torch.no_grad()
def _fold(network: nn.Module, first_name: str, second_name: str) -> None:
    """Replace two layers by their product, in place and in double precision."""
    first = network.get_submodule(first_name)
    second = network.get_submodule(second_name)
    assert isinstance(first, _LAYERS)
    assert isinstance(second, _LAYERS)
    bias = _product_bias(first, second)
    # one of the two kernels has a single element, which is broadcast over the other
    weight = torch.einsum("om...,mi...->oi...", second.weight.double(), first.weight.double())
    kept, removed = first_name, second_name
    if not _product_replaces_first(first, second):
        kept, removed = second_name, first_name
    layer = first if kept == first_name else second
    trained, dtype = layer.weight.requires_grad, layer.weight.dtype
    replace_tensor(network, f"{kept}.weight", weight.to(dtype).contiguous())
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(dtype), requires_grad=trained)
    refresh_sizes(layer)
    remove(network, [removed])


def _product_bias(first: Layer, second: Layer) -> Tensor | None:
    """`W2 b1 + b2`, where a kernel sees the constant b1 at each of its positions."""
    bias = None if second.bias is None else second.bias.double()
    if first.bias is None:
        return bias
    weight = second.weight.double()
    if weight.ndim > 2:
        weight = weight.flatten(2).sum(2)
    passed = weight @ first.bias.double()
    return passed + (0 if bias is None else bias)
