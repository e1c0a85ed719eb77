"""The network of the weights, whose checkpoint has no definition, and a small one that learns from it."""

from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """Two convolutions; where the resolution halves, the shortcut is every second pixel in padded channels."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.padding = (after - before) // 2

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, after, H / stride, W / stride) of maps (N, before, H, W)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.padding:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.padding, self.padding))
        return F.relu(x + y)


class CifarResNet(nn.Module):
    """He et al. (2015), section 4.2, with shortcuts that have no parameters."""

    def __init__(self, depth: int, classes: int = 10) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                Block(before, after, 1 + (before != after)),
                *(Block(after, after, 1) for _ in range(blocks - 1)),
            )
            for before, after in ((16, 16), (16, 32), (32, 64))
        )
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 3, 32, 32)."""
        x = F.relu(self.bn1(self.conv1(x)))
        logits: Tensor = self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))
        return logits


def resnet(*, classes: int, shape: tuple[int, int, int], depth: int) -> CifarResNet:
    """The factory that params.yaml names."""
    del shape
    return CifarResNet(depth, classes)


class Separable(nn.Module):
    """A depthwise convolution and one of 1x1 (Howard et al. 2017, section 3.1), with a shortcut where shapes agree."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, before, 3, stride, 1, groups=before, bias=False)
        self.bn1 = nn.BatchNorm2d(before)
        self.conv2, self.bn2 = nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)
        self.shortcut = stride == 1 and before == after

    def forward(self, x: Tensor) -> Tensor:
        """Maps (N, after, H / stride, W / stride) of maps (N, before, H, W)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return x + y if self.shortcut else y


# channels before, channels after, and stride of each separable convolution. Few of them halve the resolution: that of
# the last ones costs time, and no bytes
_SHAPES = {
    "small": (
        *((16, 24, 1), (24, 24, 1), (24, 40, 2), (40, 40, 1)),
        *((40, 40, 1), (40, 60, 1), (60, 60, 1)),
    ),
    "medium": (
        *((16, 32, 1), (32, 48, 2), (48, 48, 1), (48, 48, 1)),
        *((48, 64, 1), (64, 88, 2), (88, 88, 1)),
    ),
}


class SeparableNetwork(nn.Module):
    """Seven separable convolutions after a plain one."""

    def __init__(self, channels: int, classes: int, size: str) -> None:
        super().__init__()
        shapes = _SHAPES[size]
        first, last = shapes[0][0], shapes[-1][1]
        self.conv1 = nn.Conv2d(channels, first, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.layers = nn.Sequential(*(Separable(*shape) for shape in shapes))
        self.linear = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, channels, 32, 32)."""
        logits: Tensor = self.linear(self.layers(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))
        return logits


def separable(*, classes: int, shape: tuple[int, int, int], size: str) -> SeparableNetwork:
    """The factory of a student, by size: `small` has 14 thousand weights, `medium` 28 thousand."""
    return SeparableNetwork(shape[0], classes, size)
