"""Attention whose heads can be removed: the weights determine the number of heads.

torch's `nn.MultiheadAttention` asserts that its heads fill the embedding, and torchvision's Swin
and MaxViT divide the width of their input by the number of heads: with fewer heads they fail or
compute something else. The modules here replace them, with the same parameters under the same
names, and take the width of a head as constant.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Base class: it takes the parameters, buffers and layers of the module it replaces.

    Args:
        former: Module that is replaced; the new one holds the same tensors.
        heads: Number of heads of the former.
        width: Width of all heads together.
    """

    def __init__(self, former: nn.Module, heads: int, width: int) -> None:
        super().__init__()
        for name, parameter in former._parameters.items():
            self.register_parameter(name, parameter)
        for name, buffer in former._buffers.items():
            is_persistent = name not in former._non_persistent_buffers_set
            self.register_buffer(name, buffer, persistent=is_persistent)
        for name, module in former._modules.items():
            self.add_module(name, module)
        self.head_width = width // heads
        self.train(former.training)

    @property
    def num_heads(self) -> int:
        """Number of heads that the weights of the output projection have."""
        projections = [child.weight for child in self.children() if isinstance(child, nn.Linear)]
        return int(projections[-1].shape[1]) // self.head_width

    def extra_repr(self) -> str:
        """The width of a head."""
        return f"head_width={self.head_width}"


class MultiheadAttention(Attention):
    """`torch.nn.MultiheadAttention` with keys and values as wide as its queries."""

    # torch's encoder layers read it, and if it is true they compute the attention themselves
    _qkv_same_embed_dim = False

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
        """Map (N, L, E), or (L, N, E) without `batch_first`, to the same shape.

        The second output is the attention weights if `need_weights`, else None.
        """
        is_batched = query.dim() == 3
        q, k, v = self._projected(query, key, value, is_batched)
        mask = _sum_of_masks(attn_mask, key_padding_mask, len(q), q)
        dropout = self.dropout if self.training else 0.0
        weights = None
        if need_weights:
            scores = (q * self.head_width**-0.5) @ k.transpose(-2, -1)
            weights = F.softmax(scores if mask is None else scores + mask, dim=-1)
            weights = F.dropout(weights, dropout, self.training)
            mixed = weights @ v
            if average_attn_weights:
                weights = weights.mean(1)
        else:
            is_causal = is_causal and mask is None
            mixed = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
        out = self.out_proj(mixed.transpose(1, 2).flatten(2))
        if not is_batched:
            return out.squeeze(0), None if weights is None else weights.squeeze(0)
        return out if self.batch_first else out.transpose(0, 1), weights

    def _projected(
        self, query: Tensor, key: Tensor, value: Tensor, is_batched: bool
    ) -> list[Tensor]:
        """Queries, keys and values of each head: (N, heads, L, head_width)."""
        if query is key and key is value:
            joint = F.linear(query, self.in_proj_weight, self.in_proj_bias)
            projected = list(joint.chunk(3, -1))
        else:
            inputs = (query, key, value)
            weights = self.in_proj_weight.chunk(3)
            bias = self.in_proj_bias
            biases = (None, None, None) if bias is None else bias.chunk(3)
            projected = []
            for x, weight, part in zip(inputs, weights, biases, strict=True):
                projected.append(F.linear(x, weight, part))
        if not is_batched:
            projected = [x.unsqueeze(0) for x in projected]
        elif not self.batch_first:
            projected = [x.transpose(0, 1) for x in projected]
        return [x.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for x in projected]


def _sum_of_masks(
    attention: Tensor | None, padding: Tensor | None, count: int, like: Tensor
) -> Tensor | None:
    """The sum of the masks for scores (N, heads, L, S); a boolean mask is -inf where it is true.

    Args:
        attention: (L, S) or (N * heads, L, S) mask.
        padding: (N, S) mask of the keys.
        count: N.
        like: A tensor of the scores' type and device.
    """
    total = None
    for mask in (attention, None if padding is None else padding[:, None, None]):
        if mask is None:
            continue
        if mask.dtype == torch.bool:
            zeros = torch.zeros_like(mask, dtype=like.dtype)
            mask = zeros.masked_fill(mask, float("-inf"))
        if mask.dim() == 3:
            mask = mask.unflatten(0, (count, -1))
        total = mask if total is None else total + mask
    return total
