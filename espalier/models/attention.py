"""Attention of which whole heads can be removed: what torch and torchvision compute, with the heads that weights tell.

torch's `nn.MultiheadAttention` asserts that its heads fill the embedding, torchvision's Swin and MaxViT divide the
width of their input by the number of heads: cut to fewer heads they fail, or compute something else. The modules here
take their place, with the same parameters under the same names, and the width of a head as the one constant.
"""

import copy
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """What all have in common: the parameters, buffers and layers of the module whose place it takes.

    Args:
        former: The module; the new one shares its tensors.
        heads: How many it has.
        width: Of what its heads have in all.
    """

    def __init__(self, former: nn.Module, heads: int, width: int) -> None:
        super().__init__()
        for name, parameter in former._parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in former._buffers.items():
            self.register_buffer(
                name, buffer, persistent=name not in former._non_persistent_buffers_set
            )
        for name, module in former._modules.items():
            self.add_module(name, module)
        self.head_width = width // heads
        self.train(former.training)

    @property
    def num_heads(self) -> int:
        """How many heads are left."""
        projections = [one.weight for one in self.children() if isinstance(one, nn.Linear)]
        return int(projections[-1].shape[1]) // self.head_width

    def extra_repr(self) -> str:
        """The width of a head."""
        return f"head_width={self.head_width}"


class MultiheadAttention(Attention):
    """`torch.nn.MultiheadAttention` with keys and values as wide as its queries."""

    _qkv_same_embed_dim = (
        False  # torch's encoder layers ask, and then do not compute the attention by themselves
    )

    in_proj_weight: nn.Parameter
    in_proj_bias: nn.Parameter | None
    out_proj: nn.Linear

    def __init__(self, former: nn.MultiheadAttention) -> None:
        super().__init__(former, former.num_heads, former.embed_dim)
        self.batch_first = former.batch_first
        self.dropout = former.dropout

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Map (N, L, E), or (L, N, E) if the batch is not first, to the same, and to the weights if asked for."""
        batched = query.dim() == 3
        q, k, v = self._projected(query, key, value, batched)
        mask = _mask(attn_mask, key_padding_mask, len(q), q)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * self.head_width**-0.5) @ k.transpose(-2, -1)
            weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
            weights = F.dropout(weights, dropout, self.training)
            mixed = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            mixed = F.scaled_dot_product_attention(
                q, k, v, mask, dropout, is_causal and mask is None
            )
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, batched: bool) -> list[Tensor]:
        """Queries, keys and values of each head: (N, heads, L, head_width)."""
        if query is key and key is value:
            projected = F.linear(query, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        else:
            biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
            each = zip((query, key, value), self.in_proj_weight.chunk(3), biases, strict=True)
            projected = tuple(F.linear(x, weight, bias) for x, weight, bias in each)
        if not batched:
            projected = tuple(x.unsqueeze(0) for x in projected)
        elif not self.batch_first:
            projected = tuple(x.transpose(0, 1) for x in projected)
        return [x.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for x in projected]


def _mask(
    attention: Tensor | None, padding: Tensor | None, count: int, like: Tensor
) -> Tensor | None:
    """What is added to the scores (N, heads, L, S): masks may be of truth values, where true is not looked at."""
    total = None
    for mask in (attention, None if padding is None else padding[:, None, None]):
        if mask is not None:
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
            if mask.dim() == 3:  # (N * heads, L, S)
                mask = mask.unflatten(0, (count, -1))
            total = mask if total is None else total + mask
    return total


class WindowAttention(Attention):
    """torchvision's `ShiftedWindowAttention` of Swin (Liu et al. 2021), over windows of (N, H, W, C)."""

    qkv: nn.Linear
    proj: nn.Linear
    relative_position_bias_table: Tensor
    relative_position_index: Tensor

    def __init__(self, former: Any) -> None:
        super().__init__(former, former.num_heads, former.proj.in_features)
        self.window_size, self.shift_size = list(former.window_size), list(former.shift_size)
        self.attention_dropout, self.dropout = former.attention_dropout, former.dropout

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) to the same."""
        height, width = int(x.shape[1]), int(x.shape[2])
        (rows, columns), sizes = self.window_size, (height, width)
        padding = [-size % window for size, window in zip(sizes, (rows, columns), strict=True)]
        full = [size + more for size, more in zip(sizes, padding, strict=True)]
        # a window as large as the image need not be shifted
        shift = [
            s if w < f else 0
            for s, w, f in zip(self.shift_size, self.window_size, full, strict=True)
        ]
        x = F.pad(x, (0, 0, 0, padding[1], 0, padding[0]))
        if sum(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        down, across = full[0] // rows, full[1] // columns
        x = x.unflatten(1, (down, rows)).unflatten(3, (across, columns)).transpose(2, 3)
        x = x.flatten(3, 4).flatten(0, 2)  # (N * windows, places, C)
        mask = _shift_mask(full, self.window_size, shift, x) if sum(shift) else None
        x = F.dropout(self.proj(self._mixed(x, mask)), self.dropout, self.training)
        x = x.unflatten(1, (rows, columns)).unflatten(0, (-1, down, across)).transpose(2, 3)
        x = x.flatten(3, 4).flatten(1, 2)
        if sum(shift):
            x = torch.roll(x, (shift[0], shift[1]), (1, 2))
        return x[:, :height, :width].contiguous()

    def _mixed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N * windows, places, C) to what the heads say of it, side by side."""
        qkv = F.linear(x, self.qkv.weight, self._bias())
        q, k, v = (
            part.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for part in qkv.chunk(3, -1)
        )
        scores = self._scores(q, k) + self._position_bias(x.shape[1])
        if mask is not None:
            scores = (scores.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        weights = F.dropout(F.softmax(scores, dim=-1), self.attention_dropout, self.training)
        mixed: Tensor = weights @ v
        return mixed.transpose(1, 2).flatten(2)

    def _bias(self) -> Tensor | None:
        return self.qkv.bias

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        return torch.matmul(q * self.head_width**-0.5, k.transpose(-2, -1))

    def _position_table(self) -> Tensor:
        """(distances, heads)."""
        return self.relative_position_bias_table

    def _position_bias(self, places: int) -> Tensor:
        """(1, heads, places, places)."""
        bias = self._position_table()[self.relative_position_index.flatten()]
        out: Tensor = bias.unflatten(0, (places, places)).permute(2, 0, 1).unsqueeze(0)
        return out


def _shift_mask(full: list[int], window: list[int], shift: list[int], like: Tensor) -> Tensor:
    """(windows, places, places): 0 between places that were neighbours before the shift, else -100."""
    region = torch.zeros(full, device=like.device, dtype=like.dtype)
    for dim in (0, 1):
        place = torch.arange(full[dim], device=like.device)
        part = (place >= full[dim] - window[dim]).to(like.dtype) + (
            place >= full[dim] - shift[dim]
        ).to(like.dtype)
        region = 3 * region + (part[:, None] if dim == 0 else part)
    down, across = full[0] // window[0], full[1] // window[1]
    region = (
        region.unflatten(0, (down, window[0])).unflatten(2, (across, window[1])).transpose(1, 2)
    )
    region = region.flatten(2, 3).flatten(0, 1)
    return torch.ne(region[:, None], region[:, :, None]).to(like.dtype) * -100.0


class CosineWindowAttention(WindowAttention):
    """torchvision's `ShiftedWindowAttentionV2` of Swin V2 (Liu et al. 2022): cosines, and positions from a network."""

    logit_scale: Tensor
    cpb_mlp: nn.Sequential
    relative_coords_table: Tensor

    def _bias(self) -> Tensor | None:
        if self.qkv.bias is None:
            return None
        query, key, value = self.qkv.bias.chunk(3)
        return torch.cat([query, torch.zeros_like(key), value])  # keys have none

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        cosines = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        return (
            cosines * self.logit_scale.clamp(max=4.605170185988092).exp()
        )  # at most a hundredfold: log(100)

    def _position_table(self) -> Tensor:
        table: Tensor = self.cpb_mlp(self.relative_coords_table).flatten(0, 2)
        return 16 * torch.sigmoid(table)


class GridAttention(Attention):
    """torchvision's `RelativePositionalMultiHeadAttention` of MaxViT (Tu et al. 2022)."""

    to_qkv: nn.Linear
    merge: nn.Linear
    relative_position_bias_table: Tensor
    relative_position_index: Tensor

    def __init__(self, former: Any) -> None:
        super().__init__(former, former.n_heads, former.merge.in_features)
        self.scale_factor = former.scale_factor

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, groups, places, C) to the same."""
        places = x.shape[2]
        parts = self.to_qkv(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (-1, self.head_width)).transpose(2, 3) for part in parts)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.unflatten(0, (places, places)).permute(2, 0, 1)
        weights = F.softmax(q @ (k * self.scale_factor).transpose(-2, -1) + bias, dim=-1)
        out: Tensor = self.merge((weights @ v).transpose(2, 3).flatten(3))
        return out


_SPELLED = ("num_heads", "n_heads", "num_attention_heads", "n_head", "nhead", "heads")

_OWN: dict[str, Callable[[Any], nn.Module]] = {
    "torch.nn.modules.activation.MultiheadAttention": MultiheadAttention,
    "torchvision.models.swin_transformer.ShiftedWindowAttention": WindowAttention,
    "torchvision.models.swin_transformer.ShiftedWindowAttentionV2": CosineWindowAttention,
    "torchvision.models.maxvit.RelativePositionalMultiHeadAttention": GridAttention,
}


def own_attention(network: nn.Module, names: Collection[str] | None = None) -> None:
    """Put modules of ours in the place of the attention of torch and torchvision, in place.

    Args:
        network: Whose tensors and their names stay as they are.
        names: Of the layers; all that there are by default.
    """
    for name, module in list(network.named_modules()):
        if name and _replaceable(module) and (names is None or name in names):
            network.set_submodule(name, _OWN[_kind(module)](module))


def with_own_attention(network: nn.Module) -> nn.Module:
    """A network that shares all tensors with this one and has our attention; itself, if that changes nothing."""
    if not any(_replaceable(module) for module in network.modules()):
        return network
    tensors = (*network.parameters(), *network.buffers())
    other = copy.deepcopy(network, {id(tensor): tensor for tensor in tensors})
    own_attention(other)
    return other


def heads_of(network: nn.Module) -> dict[str, int]:
    """How many heads layers have that spell it, and those that are attention of ours, by name."""
    layers = [(name, layer) for name, layer in network.named_modules() if not _replaceable(layer)]
    return {name: heads for name, layer in layers if (heads := spelled_heads(layer))}


def spelled_heads(layer: nn.Module) -> int | None:
    """The number of heads that a layer knows of, under one of the names that are usual."""
    found = [getattr(layer, name, None) for name in _SPELLED]
    return next((heads for heads in found if isinstance(heads, int)), None)


def set_heads(network: nn.Module, heads: Mapping[str, int]) -> None:
    """Let layers have what `heads_of` said of another network, in place: ours take their number from their weights."""
    own_attention(network, heads)
    for name, count in heads.items():
        layer = network.get_submodule(name)
        for attribute in _SPELLED:
            if not isinstance(layer, Attention) and isinstance(
                getattr(layer, attribute, None), int
            ):
                setattr(layer, attribute, count)


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _replaceable(module: nn.Module) -> bool:
    if isinstance(module, nn.MultiheadAttention):  # those with keys of another width are left alone
        return (
            _kind(module) in _OWN
            and module._qkv_same_embed_dim
            and module.bias_k is None
            and not module.add_zero_attn
        )
    return _kind(module) in _OWN
