"""Linear layers with nothing between them, multiplied into one."""

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from espalier.folding.denormals import flush_denormals
from espalier.models.equivalence import check_equal_outputs
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


def fold_linears(network: nn.Module, example: Tensor) -> nn.Module:
    """Multiply linear layers that follow each other directly into one, where that is no more work.

    So are over-parameterised layers contracted after training (Guo et al. 2020, section 3).

    Two linear layers `W2 (W1 x + b1) + b2` are one of weight `W2 W1` and bias `W2 b1 + b2`. So are two convolutions
    of which one is 1x1 and moves nothing: the second; or the first, if the second pads nothing or the first adds
    nothing. A pair of which the product would have more parameters or multiply-accumulates, as behind a bottleneck,
    stays; so does one with numbers that were pruned or shared one by one, which a product would not keep.

    Args:
        network: Any network that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.

    Returns:
        A new network in evaluation mode with equal outputs. In the places of layers that are gone is `nn.Identity`.

    Raises:
        BadInput: If the network cannot be traced, or computes otherwise with the layers merged.
    """
    folded = copy.deepcopy(network).eval()
    while pairs := linears_to_fold(folded, example):
        taken: set[str] = set()
        for first, second in pairs:
            if not {first, second} & taken:  # of three in a row the last waits for the next round
                _fold(folded, first, second)
                taken |= {first, second}
    flush_denormals(folded)
    check_equal_outputs(network, folded, example)
    return folded


def linears_to_fold(network: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """The names of the layers that can be multiplied into one, pair by pair in their order.

    Raises:
        BadInput: If the network cannot be traced.
    """
    graph = Graph(network, example)
    single = {
        name.rpartition(".")[0] for name in (*masked_weights(network), *shared_weights(network))
    }
    return [
        (first[0], second[0])
        for (before, first), (after, second) in _neighbours(graph)
        if not {first[0], second[0]} & single
        and _fits(first[1], second[1])
        and _pays(first[1], graph.places(before), second[1], graph.places(after))
    ]


_Found = tuple[Node, tuple[str, nn.Module]]


def _neighbours(graph: Graph) -> Iterator[tuple[_Found, _Found]]:
    """Layers of which one reads nothing but the other, which nothing else reads."""
    for after in graph.nodes:
        second = graph.layer_of(after, _LAYERS)
        before: Any = after.args[0] if second else None
        first = graph.layer_of(before, _LAYERS)
        if (
            first
            and second
            and len(before.users) == 1
            and graph.operator(before) == graph.operator(after)
        ):
            yield (before, first), (after, second)


def _fits(first: nn.Module, second: nn.Module) -> bool:
    """Whether two layers are one: linear ones always, convolutions if one of them only mixes channels."""
    if isinstance(first, nn.Linear) or isinstance(second, nn.Linear):
        return True
    assert isinstance(first, _CONVOLUTIONS)
    assert isinstance(second, _CONVOLUTIONS)
    if first.groups > 1 or second.groups > 1:
        return False
    if _mixes(second):
        return True
    pads = second.padding == "same" or any(second.padding)
    adds = first.bias is not None and bool(
        first.bias.any()
    )  # at the border the second would not have seen it
    return _mixes(first) and not (pads and adds)


def _mixes(layer: nn.Module) -> bool:
    """Whether a convolution maps each place by itself."""
    assert isinstance(layer, _CONVOLUTIONS)
    padding = (0,) if isinstance(layer.padding, str) else layer.padding
    return max(layer.kernel_size) == max(layer.stride) == 1 and not any(padding)


def _pays(first: nn.Module, before: int, second: nn.Module, after: int) -> bool:
    """Whether the product has no more parameters and no more multiply-accumulates than both.

    Args:
        first: The layer that runs first.
        before: At how many places it is applied to an image.
        second: The layer that runs second.
        after: At how many places that is.
    """
    one, other = _weight(first), _weight(second)
    size = len(other) * one.shape[1] * max(one[0, 0].numel(), other[0, 0].numel())
    bias = max(first.bias is not None, second.bias is not None) * len(other)
    parameters = sum(
        value.numel() for layer in (first, second) for value in layer.parameters(recurse=False)
    )
    places = before if _stays_first(first, second) else after
    return (
        size + bias <= parameters and size * places <= one.numel() * before + other.numel() * after
    )


def _stays_first(first: nn.Module, second: nn.Module) -> bool:
    """Whether the product takes the place of the first layer: the one that moves says how."""
    return isinstance(first, nn.Linear) or _mixes(second)


@torch.no_grad()
def _fold(network: nn.Module, first: str, second: str) -> None:
    one, other = network.get_submodule(first), network.get_submodule(second)
    assert isinstance(one, _LAYERS)
    assert isinstance(other, _LAYERS)
    w1, w2 = one.weight.double(), other.weight.double()
    bias = None if other.bias is None else other.bias.double()
    if one.bias is not None:
        passed = w2.flatten(2).sum(2) if w2.ndim > 2 else w2
        bias = passed @ one.bias.double() + (0 if bias is None else bias)
    stays, goes = (first, second) if _stays_first(one, other) else (second, first)
    layer = network.get_submodule(stays)
    assert isinstance(layer, _LAYERS)
    trained, dtype = layer.weight.requires_grad, layer.weight.dtype
    # one of the kernels is 1 in every direction, and is repeated in the other's
    replace_tensor(
        network,
        f"{stays}.weight",
        torch.einsum("om...,mi...->oi...", w2, w1).to(dtype).contiguous(),
    )
    if bias is not None:
        layer.bias = nn.Parameter(bias.to(dtype), requires_grad=trained)
    refresh_sizes(layer)
    remove(network, [goes])


def _weight(layer: nn.Module) -> Tensor:
    assert isinstance(layer, _LAYERS)
    return layer.weight
