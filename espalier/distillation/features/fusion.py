"""Fusion of several layers of a student, from the deepest to the first (Chen et al. 2021)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_WIDEST = 512  # channels between the two convolutions of a stage, at most

Shape = tuple[int, int, int]
"""Channels, height and width of a map."""


class Fusion(nn.Module):
    """Maps of several layers to one fused map each, in the teacher's shapes.

    The map of a layer is fused with the fusion of all deeper layers: a 1x1 convolution and a batch
    norm give both the same channels, the deeper one is enlarged, and two attention maps weight
    their sum. A 3x3 convolution and a batch norm give it the teacher's channels.

    Source: Chen et al. (2021), "Distilling knowledge via knowledge review", section 3.2 (the sum
    over stages) and section 3.3 (attention based fusion).

    Args:
        student: shapes of the student's maps, the deepest last.
        teacher: shapes of the teacher's maps, likewise.
    """

    def __init__(self, student: Sequence[Shape], teacher: Sequence[Shape]) -> None:
        super().__init__()
        channels, deepest = min(_WIDEST, student[-1][0]), len(student) - 1
        self.stages = nn.ModuleList(
            _Stage(ours[0], channels, theirs, fuses=place < deepest)
            for place, (ours, theirs) in enumerate(zip(student, teacher, strict=True))
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The fused maps (N, C', H', W'), in the order of the given maps (N, C, H, W)."""
        fused: list[Tensor] = []
        deeper: Tensor | None = None
        for stage, own in zip(reversed(self.stages), reversed(maps), strict=True):
            result, deeper = stage(own, deeper)
            fused.insert(0, result)
        return fused


class _Stage(nn.Module):
    """The fusion of a layer with the fusion of all deeper layers."""

    def __init__(self, channels: int, middle: int, teacher: Shape, *, fuses: bool) -> None:
        super().__init__()
        self._size = teacher[1:]
        self.narrow = _convolution(channels, middle, 1)
        self.attend = nn.Conv2d(2 * middle, 2, 1) if fuses else None
        self.widen = _convolution(middle, teacher[0], 3)

    def forward(self, own: Tensor, deeper: Tensor | None) -> tuple[Tensor, Tensor]:
        """The fusion in the teacher's shape, and before the last convolution."""
        fused = self.narrow(own)
        if self.attend is not None and deeper is not None:
            deeper = F.interpolate(deeper, fused.shape[2:], mode="nearest")
            attention = torch.sigmoid(self.attend(torch.cat([fused, deeper], 1)))
            fused = fused * attention[:, :1] + deeper * attention[:, 1:]
        if fused.shape[2:] != self._size:
            fused = F.interpolate(fused, self._size, mode="nearest")
        return self.widen(fused), fused


def _convolution(channels: int, filters: int, kernel: int) -> nn.Sequential:
    """A convolution that keeps height and width, and a batch norm; its weights as in the authors' code."""
    convolution = nn.Conv2d(channels, filters, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(filters))
