"""Plain convolutions of any widths, for files of a few kilobytes."""

from collections.abc import Sequence
from typing import TypeGuard

from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.resnet import he_initialised

Widths = Sequence[Sequence[int]]


class CNN(nn.Module):
    """3x3 convolutions in stages, with max pooling between stages, a mean over positions, and a linear layer."""

    def __init__(
        self, widths: Widths, norms: bool, classes: int, shape: tuple[int, int, int]
    ) -> None:
        super().__init__()
        self.features = nn.Sequential()
        channels, number = shape[0], 0
        for stage, stage_widths in enumerate(widths):
            if stage:
                self.features.append(nn.MaxPool2d(2))
            for width in stage_widths:
                conv = nn.Conv2d(channels, width, 3, padding=1, bias=not norms)
                self.features.add_module(f"conv{number}", conv)
                if norms:
                    self.features.add_module(f"norm{number}", nn.BatchNorm2d(width))
                self.features.add_module(f"relu{number}", nn.ReLU(inplace=True))
                channels, number = width, number + 1
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to logits (N, classes)."""
        logits: Tensor = self.head(self.features(x).mean((2, 3)))
        return logits


def cnn(
    *,
    classes: int,
    shape: tuple[int, int, int],
    widths: Widths = ((16, 16), (32, 32), (64, 64)),
    norms: bool = True,
) -> nn.Module:
    """Build a stack of 3x3 convolutions.

    Args:
        classes: number of outputs.
        shape: channels, height and width of an image.
        widths: channels of the convolutions of each stage; max pooling halves the map between stages.
        norms: whether batch norm follows each convolution; without, each has a bias. A network with norms becomes
            one without by `fold: batch_norms`, with the same names of layers.

    Raises:
        BadInput: If a width is no positive integer, a stage is empty, or the pooling leaves no pixel.
    """
    if not (_is_filled_list(widths) and all(map(_is_stage, widths))):
        raise BadInput(
            "Expected `widths` of espalier:cnn as a list of stages, each a list of widths of at least 1; found "
            f"`widths = {widths}`."
        )
    least = 2 ** (len(widths) - 1)
    if min(shape[1:]) < least:
        raise BadInput(
            f"Expected images of at least {least} pixels a side for the {len(widths)} stages of espalier:cnn; found "
            f"{shape[1]}x{shape[2]}."
        )
    return he_initialised(CNN(widths, norms, classes, shape))


def _is_stage(stage: object) -> bool:
    return _is_filled_list(stage) and all(type(width) is int and width > 0 for width in stage)


def _is_filled_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, (list, tuple)) and len(value) > 0
