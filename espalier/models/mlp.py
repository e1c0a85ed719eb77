"""A multilayer perceptron."""

from collections.abc import Sequence
from math import prod

from torch import nn

from espalier.errors import BadInput


def mlp(*, classes: int, shape: tuple[int, ...], hidden: Sequence[int] = (256, 256)) -> nn.Module:
    """Build a perceptron with one rectified layer per element of `hidden`.

    Raises:
        BadInput: If a width is not positive.
    """
    if not all(isinstance(width, int) and width > 0 for width in hidden):
        raise BadInput(
            f"Expected positive widths in `hidden` of espalier:mlp; found {list(hidden)}."
        )
    layers: list[nn.Module] = [nn.Flatten()]
    previous = prod(shape)
    for width in hidden:
        layers += [nn.Linear(previous, width), nn.ReLU()]
        previous = width
    return nn.Sequential(*layers, nn.Linear(previous, classes))
