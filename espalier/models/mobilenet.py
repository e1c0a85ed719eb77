"""MobileNetV2 (Sandler et al. 2018) with strides for small images."""

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.resnet import he_initialised

# expansion, channels, blocks, stride: table 2 of the paper, with the first two halvings left out
# for small images
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """Expansion by a 1x1 convolution, a depthwise 3x3 convolution, a linear projection."""

    def __init__(self, channels: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += _convolution(channels, hidden, 1, 1, 1)
        layers += _convolution(hidden, hidden, 3, stride, hidden)
        layers += [nn.Conv2d(hidden, width, 1, bias=False), nn.BatchNorm2d(width)]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, channels, H, W) to (N, width, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class MobileNet(nn.Module):
    """Seven stages of inverted residuals between a 3x3 and a 1x1 convolution."""

    def __init__(self, multiplier: float, classes: int, channels: int) -> None:
        super().__init__()
        previous = _width(32, multiplier)
        layers: list[nn.Module] = _convolution(channels, previous, 3, 1, 1)
        for expansion, base, blocks, stride in _STAGES:
            width = _width(base, multiplier)
            for block in range(blocks):
                layers.append(
                    InvertedResidual(previous, width, stride if block == 0 else 1, expansion)
                )
                previous = width
        last = _width(1280, max(multiplier, 0.25))
        self.features = nn.Sequential(*layers, *_convolution(previous, last, 1, 1, 1))
        self.head = nn.Linear(last, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.head(torch.mean(self.features(x), (2, 3)))
        return logits


def mobilenet(*, classes: int, shape: tuple[int, int, int], multiplier: float = 1.0) -> nn.Module:
    """Build MobileNetV2 for small images, all widths times `multiplier`, rounded to multiples of 8.

    Raises:
        BadInput: If the multiplier is not positive.
    """
    if multiplier <= 0:
        raise BadInput(
            "Expected `multiplier` of espalier:mobilenet above 0; found `multiplier = "
            f"{multiplier}`."
        )
    return he_initialised(MobileNet(multiplier, classes, shape[0]))


def _convolution(
    channels: int, width: int, kernel: int, stride: int, groups: int
) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, width, kernel, stride, kernel // 2, groups=groups, bias=False)
    return [convolution, nn.BatchNorm2d(width), nn.ReLU6(inplace=True)]


def _width(base: int, multiplier: float) -> int:
    return max(8, int(base * multiplier + 4) // 8 * 8)
