"""Attention transfer (Zagoruyko and Komodakis 2017, eq. 2, with F_sum² and p = 2)."""

from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import wide
from espalier.distillation.losses.sizes import same_size


def attention(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference between where two layers are active, as their authors' code has it.

    Args:
        student: Maps (N, C, H, W).
        teacher: Maps (N, C', H', W') of any number of channels; the larger ones are averaged down.

    Returns:
        mean((q(student) - q(teacher))²) over examples and places, where q is the mean square over the channels,
        divided by its norm over the places.
    """
    ours, theirs = same_size(wide(student), wide(teacher))
    return (_places(ours) - _places(theirs)).square().mean()


def _places(maps: Tensor) -> Tensor:
    return F.normalize(maps.square().mean(1).flatten(1), dim=1)
