"""The number of heads of attention layers, and the exchange of layers for prunable ones."""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import nn

from espalier.models.attention.prunable import Attention, MultiheadAttention
from espalier.models.attention.windows import (
    CosineWindowAttention,
    GridAttention,
    WindowAttention,
)

# attributes under which libraries keep the number of heads
_HEAD_ATTRIBUTES = ("num_heads", "n_heads", "num_attention_heads", "n_head", "nhead", "heads")

# prunable module for each attention class, by the class's full name: torchvision is imported only
# where it is used
_PRUNABLE: dict[str, Callable[[Any], nn.Module]] = {
    "torch.nn.modules.activation.MultiheadAttention": MultiheadAttention,
    "torchvision.models.swin_transformer.ShiftedWindowAttention": WindowAttention,
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2": CosineWindowAttention,
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention": GridAttention,
}


def make_attention_prunable(network: nn.Module, names: Collection[str] | None = None) -> None:
    """Replace the attention layers of torch and torchvision by prunable ones, in place.

    Args:
        network: Network; its tensors and their names do not change.
        names: Names of the layers; None replaces all of them.
    """
    for name, module in list(network.named_modules()):
        chosen = names is None or name in names
        if name and chosen and _is_replaceable(module):
            prunable = _PRUNABLE[_full_name(module)](module)
            network.set_submodule(name, prunable)


def with_prunable_attention(network: nn.Module) -> nn.Module:
    """A network of the same tensors with prunable attention; itself if it has no other."""
    if not any(_is_replaceable(module) for module in network.modules()):
        return network
    tensors = (*network.parameters(), *network.buffers())
    shared = {id(tensor): tensor for tensor in tensors}
    other = copy.deepcopy(network, shared)
    make_attention_prunable(other)
    return other


def attention_heads(network: nn.Module) -> dict[str, int]:
    """Number of heads of each layer that declares one and is not to be replaced, by its name."""
    counts = {}
    for name, layer in network.named_modules():
        heads = None if _is_replaceable(layer) else declared_heads(layer)
        if heads:
            counts[name] = heads
    return counts


def declared_heads(layer: nn.Module) -> int | None:
    """Number of heads that a layer keeps under one of the usual attribute names."""
    for attribute in _HEAD_ATTRIBUTES:
        heads = getattr(layer, attribute, None)
        if isinstance(heads, int):
            return heads
    return None


def set_attention_heads(network: nn.Module, heads: Mapping[str, int]) -> None:
    """Set the number of heads of layers, in place, replacing unprunable ones.

    Args:
        network: Network of the same layers as the one that `heads` describes.
        heads: Result of `attention_heads`. Prunable layers ignore it: their weights determine the
            number.
    """
    make_attention_prunable(network, heads)
    for name, count in heads.items():
        layer = network.get_submodule(name)
        if isinstance(layer, Attention):
            continue
        for attribute in _HEAD_ATTRIBUTES:
            if isinstance(getattr(layer, attribute, None), int):
                setattr(layer, attribute, count)


def _full_name(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _is_replaceable(module: nn.Module) -> bool:
    if _full_name(module) not in _PRUNABLE:
        return False
    if isinstance(module, nn.MultiheadAttention):
        # keys or values of another width, and extra keys, have no prunable counterpart
        return module._qkv_same_embed_dim and module.bias_k is None and not module.add_zero_attn
    return True
