"""Window attention of torchvision's Swin and MaxViT."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.models.attention.prunable import Attention


class WindowAttention(Attention):
    """torchvision's `ShiftedWindowAttention` of Swin (Liu et al. 2021)."""

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
    """(windows, places, places): 0 between neighbours before the shift, else -100."""
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
    """torchvision's `ShiftedWindowAttentionV2` of Swin V2 (Liu et al. 2022): cosine similarity."""

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
