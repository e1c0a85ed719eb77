"""Wide residual networks (Zagoruyko and Komodakis 2016)."""

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.resnet import he_initialised


class PreActivationBlock(nn.Module):
    """Two 3x3 convolutions behind norm and rectifier; a 1x1 shortcut where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.shortcut: nn.Module | None = None
        if stride != 1 or channels != width:
            self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, width, H / stride, W / stride)."""
        y = torch.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        y = torch.relu(self.bn2(self.conv1(y)))
        out: Tensor = self.conv2(self.dropout(y)) + skip
        return out


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks, `widen` times as wide as a ResNet's."""

    def __init__(self, depth: int, widen: int, dropout: float, classes: int, channels: int) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        widths = [16 * widen, 32 * widen, 64 * widen]
        self.conv = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        stages, previous = [], 16
        for width, stride in zip(widths, (1, 2, 2), strict=True):
            first = PreActivationBlock(previous, width, stride, dropout)
            rest = (PreActivationBlock(width, width, 1, dropout) for _ in range(blocks - 1))
            stages.append(nn.Sequential(first, *rest))
            previous = width
        self.stages = nn.Sequential(*stages)
        self.bn = nn.BatchNorm2d(previous)
        self.head = nn.Linear(previous, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        x = torch.relu(self.bn(self.stages(self.conv(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def wide_resnet(
    *,
    classes: int,
    shape: tuple[int, int, int],
    depth: int = 16,
    widen: int = 4,
    dropout: float = 0.0,
) -> nn.Module:
    """Build WRN-depth-widen.

    Raises:
        BadInput: If the depth is not `6n + 4`, or the widening or the dropout is out of range.
    """
    if depth < 10 or (depth - 4) % 6:
        raise BadInput(
            "Expected `depth` of espalier:wide_resnet of 6n + 4 (10, 16, 22, ...); found `depth = "
            f"{depth}`."
        )
    if widen < 1:
        raise BadInput(
            f"Expected `widen` of espalier:wide_resnet of at least 1; found `widen = {widen}`."
        )
    if not 0 <= dropout < 1:
        raise BadInput(f"Expected `dropout` in [0, 1); found `dropout = {dropout}`.")
    return he_initialised(WideResNet(depth, widen, dropout, classes, shape[0]))
