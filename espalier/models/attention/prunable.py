"""Attention whose heads can be removed: the weights determine the number of heads.

torch's `nn.MultiheadAttention` asserts that its heads fill the embedding, torchvision's Swin and
MaxViT divide the width of their input by the number of heads: cut to fewer heads they fail, or
compute something else. The modules here take their place, with the same parameters under the same
names, and the width of a head as the one constant.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Base class: it takes the parameters, buffers and layers of the module it replaces.

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
        """Map (N, L, E), or (L, N, E) without `batch_first`, to the same and, on request, the weights."""
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
    """The sum of the masks for scores (N, heads, L, S); a boolean mask is -inf where it is true."""
    total = None
    for mask in (attention, None if padding is None else padding[:, None, None]):
        if mask is not None:
            if mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, float("-inf"))
            if mask.dim() == 3:  # (N * heads, L, S)
                mask = mask.unflatten(0, (count, -1))
            total = mask if total is None else total + mask
    return total
