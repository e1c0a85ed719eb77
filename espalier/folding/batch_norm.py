"""Batch norms folded into the layers before them: in evaluation mode a norm is one more scale and shift per channel."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.folding.denormals import flush_denormals
from espalier.models.equivalence import check_equal_outputs
from espalier.models.graph import Graph
from espalier.models.structure import remove, shared_weights

Norm = nn.modules.batchnorm._BatchNorm
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED, nn.Linear)


def fold_batch_norms(network: nn.Module, example: Tensor) -> nn.Module:
    """Fold every batch norm into the convolution or linear layer before it (Jacob et al. 2018, section 3.2, eq. 14).

    With gamma, beta, mean and variance of the norm, a layer of weight W and bias b becomes one of weight
    `W gamma / sqrt(variance + eps)` and bias `beta + (b - mean) gamma / sqrt(variance + eps)`.

    A norm stays where it does not directly follow such a layer, where something else looks at the layer's output, and
    where either is used more than once.

    Args:
        network: Any network that `torch.export` can trace; it is left as it is.
        example: Images (N, C, H, W) as the network sees them.

    Returns:
        A new network in evaluation mode with equal outputs. In the places of folded norms is `nn.Identity`.

    Raises:
        BadInput: If the network cannot be traced, computes otherwise without its norms, or shares weights that would
            be scaled.
    """
    pairs = batch_norms_to_fold(network, example)
    shared = {name.rpartition(".")[0] for name in shared_weights(network)} & {
        layer for layer, _ in pairs
    }
    if shared:
        raise BadInput(
            "Batch norms should be folded before weights are shared: they scale each channel by a number of its own, "
            f"and a codebook would not hold. Found shared weights in {min(shared)}."
        )
    folded = copy.deepcopy(network).eval()
    for layer, norm in pairs:
        _fold(folded.get_submodule(layer), folded.get_submodule(norm))
    remove(folded, [norm for _, norm in pairs])
    flush_denormals(folded)
    check_equal_outputs(network, folded, example)
    return folded


def batch_norms_to_fold(network: nn.Module, example: Tensor) -> list[tuple[str, str]]:
    """The names of the layers that a batch norm can be folded into, each with that of its norm, in their order.

    Raises:
        BadInput: If the network cannot be traced.
    """
    graph = Graph(network, example)
    pairs = []
    for node in graph.nodes:
        if (
            graph.operator(node) != "batch_norm" or node.args[5]
        ):  # normalises by the batch: it keeps no statistics
            continue
        before: Any = node.args[0]
        layer, norm = graph.layer_of(before, _LAYERS), graph.owner(node.args[3])
        if layer is None or norm is None or not isinstance(norm[1], Norm) or len(before.users) > 1:
            continue
        if isinstance(layer[1], nn.Linear) and len(graph.shape(before)) != 2:
            continue  # the channels of a norm are dimension 1, those of a linear layer the last
        pairs.append((layer[0], norm[0]))
    return pairs


@torch.no_grad()
def _fold(layer: nn.Module, norm: nn.Module) -> None:
    assert isinstance(layer, _LAYERS)
    assert isinstance(norm, Norm)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale * norm.weight.double() if norm.affine else scale
    shift = -norm.running_mean.double() * scale
    shift = shift + norm.bias.double() if norm.affine else shift
    weight = layer.weight.double()
    if isinstance(layer, _TRANSPOSED):  # (in, out / groups, ...): group by group of inputs
        grouped = weight.unflatten(0, (layer.groups, -1))
        rows = scale.view(layer.groups, 1, -1, *[1] * (weight.ndim - 2))
        layer.weight.copy_((grouped * rows).flatten(0, 1))
    else:
        layer.weight.copy_(weight * scale.view(-1, *[1] * (weight.ndim - 1)))
    if layer.bias is None:
        layer.bias = nn.Parameter(
            shift.to(layer.weight.dtype), requires_grad=layer.weight.requires_grad
        )
    else:
        layer.bias.copy_(layer.bias.double() * scale + shift)
