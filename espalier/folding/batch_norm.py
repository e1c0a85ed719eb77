"""Batch norms folded into the layers before them.

In evaluation mode a norm is one more scale and shift per channel.
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node

from espalier.folding.codebooks import refuse_codebooks
from espalier.models.equivalence import check_equal_outputs, flush_denormals
from espalier.models.graph import Graph
from espalier.models.structure import remove

Norm = nn.modules.batchnorm._BatchNorm
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED, nn.Linear)


def fold_batch_norms(network: nn.Module, example: Tensor) -> nn.Module:
    """Fold batch norms into the layers before them (Jacob et al. 2018, section 3.2, eq. 14).

    With gamma, beta, mean and variance of the norm, a layer of weight W and bias b becomes one of
    weight `W gamma / sqrt(variance + eps)` and bias `beta + (b - mean) gamma / sqrt(variance +
    eps)`: with W = 2, b = 1, mean = 1, variance + eps = 4, gamma = 3 and beta = 5 they are 3 and 5.

    A norm stays where it does not directly follow a convolution or linear layer, where another
    operation reads the layer's output, and where either is used more than once.

    Args:
        network: Network that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.

    Returns:
        A new network in evaluation mode with equal outputs, and `nn.Identity` instead of norms.

    Raises:
        BadInput: If the network cannot be traced, has other outputs without its norms, or has
            shared weights that would be scaled.
    """
    pairs = batch_norms_to_fold(network, example)
    refuse_codebooks(network, [layer for layer, _ in pairs], "batch norms to be folded")
    folded = copy.deepcopy(network).eval()
    for layer, norm in pairs:
        _fold(folded.get_submodule(layer), folded.get_submodule(norm))
    remove(folded, [norm for _, norm in pairs])
    flush_denormals(folded)
    check_equal_outputs(network, folded, example)
    return folded


def batch_norms_to_fold(network: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """The names of the layers that a norm can be folded into, each with that of its norm, in order.

    Raises:
        BadInput: If the network cannot be traced.
    """
    graph = Graph(network, example)
    pairs = []
    for node in graph.nodes:
        pair = _pair(graph, node)
        if pair is not None:
            pairs.append(pair)
    return pairs


def _pair(graph: Graph, node: Node) -> tuple[str, str] | None:
    """The names of the layer and the norm, if a call is that of a norm that can be folded."""
    if graph.operator(node) != "batch_norm":
        return None
    normalises_by_the_batch = node.args[5]
    if normalises_by_the_batch:
        return None
    before: Any = node.args[0]
    layer = graph.layer_of(before, _LAYERS)
    norm = graph.owner(node.args[3])
    if layer is None or norm is None or not isinstance(norm[1], Norm) or len(before.users) > 1:
        return None
    # a norm's channels are dimension 1, those of a linear layer the last one
    if isinstance(layer[1], nn.Linear) and len(graph.shape(before)) != 2:
        return None
    return layer[0], norm[0]


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> None:
    """Scale and shift a layer as a norm does, in place and in double precision."""
    assert isinstance(layer, _LAYERS)
    assert isinstance(norm, Norm)
    scale, shift = _scale_and_shift(norm)
    weight = layer.weight.double()
    if isinstance(layer, _TRANSPOSED):
        # (inputs, outputs / groups, ...): the inputs of a group scale with the group's outputs
        grouped = weight.unflatten(0, (layer.groups, -1))
        rows = scale.view(layer.groups, 1, -1, *[1] * (weight.ndim - 2))
        layer.weight.copy_((grouped * rows).flatten(0, 1))
    else:
        layer.weight.copy_(weight * scale.view(-1, *[1] * (weight.ndim - 1)))
    if layer.bias is None:
        bias = shift.to(layer.weight.dtype)
        layer.bias = nn.Parameter(bias, requires_grad=layer.weight.requires_grad)
    else:
        layer.bias.copy_(layer.bias.double() * scale + shift)


def _scale_and_shift(norm: Norm) -> tuple[Tensor, Tensor]:
    """(channels,) each: a norm computes `scale x + shift` in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    if norm.affine:
        shift = shift + norm.bias.double()
    return scale, shift
