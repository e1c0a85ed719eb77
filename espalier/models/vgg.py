"""VGG with batch norm and one linear layer, for small images (Simonyan and Zisserman 2015)."""

from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.resnet import he_initialised

_STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, each followed by max pooling while the map has two rows."""

    def __init__(self, depth: int, width: int, classes: int, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, side = shape[0], min(shape[1:])
        layers: list[nn.Module] = []
        for stage, count in enumerate(_STAGES[depth]):
            out = min(width * 2**stage, 8 * width)
            for _ in range(count):
                layers += [
                    nn.Conv2d(channels, out, 3, 1, 1, bias=False),
                    nn.BatchNorm2d(out),
                    nn.ReLU(inplace=True),
                ]
                channels = out
            if side >= 2:
                layers.append(nn.MaxPool2d(2))
                side //= 2
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def vgg(
    *, classes: int, shape: tuple[int, int, int], depth: int = 16, width: int = 64
) -> nn.Module:
    """Build VGG-11, 13, 16 or 19 with batch norm, its first stage `width` channels wide.

    Raises:
        BadInput: If the depth is none of these, or the width is not positive.
    """
    if depth not in _STAGES:
        raise BadInput(
            f"Expected `depth` of espalier:vgg among {list(_STAGES)}; found `depth = {depth}`."
        )
    if width < 1:
        raise BadInput(f"Expected `width` of espalier:vgg of at least 1; found `width = {width}`.")
    return he_initialised(VGG(depth, width, classes, shape))
