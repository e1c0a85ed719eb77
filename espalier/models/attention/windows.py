"""Window attention of torchvision's Swin and MaxViT whose heads can be removed."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.models.attention.prunable import Attention

_MASKED = -100.0  # added to scores between positions that attend to each other by the shift only
_LARGEST_LOG_SCALE = 4.605170185988092  # log(100): cosines are scaled at most a hundredfold


class WindowAttention(Attention):
    """torchvision's `ShiftedWindowAttention` of Swin (Liu et al. 2021)."""

    qkv: nn.Linear
    proj: nn.Linear
    relative_position_bias_table: Tensor
    relative_position_index: Tensor

    def __init__(self, former: Any) -> None:
        super().__init__(former, former.num_heads, former.proj.in_features)
        self.window_size = list(former.window_size)
        self.shift_size = list(former.shift_size)
        self.attention_dropout = former.attention_dropout
        self.dropout = former.dropout

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, H, W, C) to the same shape."""
        height, width = int(x.shape[1]), int(x.shape[2])
        rows, columns = self.window_size
        full_height = height + -height % rows  # the next multiple
        full_width = width + -width % columns
        shift = self._shift(full_height, full_width)
        x = F.pad(x, (0, 0, 0, full_width - width, 0, full_height - height))
        if sum(shift):
            x = torch.roll(x, (-shift[0], -shift[1]), (1, 2))
        down = full_height // rows
        across = full_width // columns
        x = x.unflatten(1, (down, rows))
        x = x.unflatten(3, (across, columns))
        x = x.transpose(2, 3).flatten(3, 4)
        x = x.flatten(0, 2)  # (N * windows, positions, C)
        mask = None
        if sum(shift):
            mask = _shift_mask([full_height, full_width], self.window_size, shift, x)
        x = self.proj(self._mixed(x, mask))
        x = F.dropout(x, self.dropout, self.training)
        x = x.unflatten(1, (rows, columns))
        x = x.unflatten(0, (-1, down, across))
        x = x.transpose(2, 3).flatten(3, 4)
        x = x.flatten(1, 2)
        if sum(shift):
            x = torch.roll(x, (shift[0], shift[1]), (1, 2))
        return x[:, :height, :width].contiguous()

    def _shift(self, height: int, width: int) -> list[int]:
        """The shift of the windows; 0 along a side that one window fills."""
        shift = []
        for size, window, side in zip(
            self.shift_size, self.window_size, (height, width), strict=True
        ):
            shift.append(size if window < side else 0)
        return shift

    def _mixed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N * windows, positions, C) to the outputs of all heads, side by side."""
        qkv = F.linear(x, self.qkv.weight, self._bias())
        heads = [part.unflatten(-1, (-1, self.head_width)) for part in qkv.chunk(3, -1)]
        q, k, v = (part.transpose(1, 2) for part in heads)
        scores = self._scores(q, k) + self._position_bias(x.shape[1])
        if mask is not None:
            scores = scores.unflatten(0, (-1, len(mask))) + mask[:, None]
            scores = scores.flatten(0, 1)
        weights = F.softmax(scores, dim=-1)
        weights = F.dropout(weights, self.attention_dropout, self.training)
        mixed: Tensor = weights @ v
        return mixed.transpose(1, 2).flatten(2)

    def _bias(self) -> Tensor | None:
        return self.qkv.bias

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        return torch.matmul(q * self.head_width**-0.5, k.transpose(-2, -1))

    def _position_table(self) -> Tensor:
        """(distances, heads)."""
        return self.relative_position_bias_table

    def _position_bias(self, positions: int) -> Tensor:
        """(1, heads, positions, positions)."""
        bias = self._position_table()[self.relative_position_index.flatten()]
        out: Tensor = bias.unflatten(0, (positions, positions)).permute(2, 0, 1).unsqueeze(0)
        return out


def _shift_mask(full: list[int], window: list[int], shift: list[int], like: Tensor) -> Tensor:
    """(windows, positions, positions): 0 between neighbours before the shift, else -100.

    A shift of 1 moves the first row of a map to the end, so that its last window has rows from both
    ends. Along a side the positions are in region 0, 1 (last window) or 2 (the shifted part of it);
    two positions attend to each other if both their regions are equal.
    """
    region = torch.zeros(full, device=like.device, dtype=like.dtype)
    for dim in (0, 1):
        position = torch.arange(full[dim], device=like.device)
        in_last_window = (position >= full[dim] - window[dim]).to(like.dtype)
        was_shifted = (position >= full[dim] - shift[dim]).to(like.dtype)
        along = in_last_window + was_shifted
        region = 3 * region + (along[:, None] if dim == 0 else along)
    down = full[0] // window[0]
    across = full[1] // window[1]
    region = region.unflatten(0, (down, window[0]))
    region = region.unflatten(2, (across, window[1]))
    region = region.transpose(1, 2).flatten(2, 3)
    region = region.flatten(0, 1)
    differs = torch.ne(region[:, None], region[:, :, None])
    return differs.to(like.dtype) * _MASKED


class CosineWindowAttention(WindowAttention):
    """torchvision's `ShiftedWindowAttentionV2` of Swin V2 (Liu et al. 2022).

    Scores are scaled cosines, and a small network computes the position bias.
    """

    logit_scale: Tensor
    cpb_mlp: nn.Sequential
    relative_coords_table: Tensor

    def _bias(self) -> Tensor | None:
        if self.qkv.bias is None:
            return None
        query, key, value = self.qkv.bias.chunk(3)
        return torch.cat([query, torch.zeros_like(key), value])  # keys have no bias

    def _scores(self, q: Tensor, k: Tensor) -> Tensor:
        cosines = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1)
        return cosines * self.logit_scale.clamp(max=_LARGEST_LOG_SCALE).exp()

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
        """Map (N, groups, positions, C) to the same shape."""
        positions = x.shape[2]
        parts = self.to_qkv(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (-1, self.head_width)).transpose(2, 3) for part in parts)
        bias = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = bias.unflatten(0, (positions, positions)).permute(2, 0, 1)
        scores = q @ (k * self.scale_factor).transpose(-2, -1) + bias
        weights = F.softmax(scores, dim=-1)
        out: Tensor = self.merge((weights @ v).transpose(2, 3).flatten(3))
        return out
