"""Plain convolutions of any widths, for files of a few kilobytes."""

from collections.abc import Sequence

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
    stages = [list(stage) if isinstance(stage, (list, tuple)) else [] for stage in widths]
    whole = all(
        stage and all(isinstance(width, int) and width > 0 for width in stage) for stage in stages
    )
    if not stages or not whole:
        raise BadInput(
            "Expected `widths` of espalier:cnn as a list of stages, each a list of widths of at least 1; found "
            f"`widths = {widths}`."
        )
    if min(shape[1:]) < 2 ** (len(stages) - 1):
        raise BadInput(
            f"Expected images of at least {2 ** (len(stages) - 1)} pixels a side for the {len(stages)} stages of "
            f"espalier:cnn; found {shape[1]}x{shape[2]}."
        )
    return he_initialised(CNN(stages, norms, classes, shape))
