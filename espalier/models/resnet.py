"""Residual networks for small images (He et al. 2016, section 4.2)."""

import torch
from torch import Tensor, nn

from espalier.errors import BadInput


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes (option B)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, width, H / stride, W / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """Three stages of residual blocks at full, half and quarter resolution."""

    def __init__(self, depth: int, width: int, classes: int, channels: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.stages = nn.Sequential(
            _stage(width, width, blocks, 1),
            _stage(width, 2 * width, blocks, 2),
            _stage(2 * width, 4 * width, blocks, 2),
        )
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        x = self.stages(torch.relu(self.bn(self.conv(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def resnet(
    *, classes: int, shape: tuple[int, int, int], depth: int = 20, width: int = 16
) -> nn.Module:
    """Build the CIFAR-style ResNet of `6n + 2` layers, its stages `width`, 2 and 4 times as wide.

    Raises:
        BadInput: If the depth is not of that form, or the width is not positive.
    """
    if depth < 8 or (depth - 2) % 6:
        raise BadInput(
            "Expected `depth` of espalier:resnet of 6n + 2 (8, 14, 20, ...); found `depth = "
            f"{depth}`."
        )
    if width < 1:
        raise BadInput(
            f"Expected `width` of espalier:resnet of at least 1; found `width = {width}`."
        )
    return he_initialised(ResNet(depth, width, classes, shape[0]))


def he_initialised(network: nn.Module) -> nn.Module:
    """Draw the weights of convolutions by fan-out (He et al. 2015); returns the network."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network


def _stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels, width, stride)
    return nn.Sequential(first, *(BasicBlock(width, width, 1) for _ in range(blocks - 1)))
