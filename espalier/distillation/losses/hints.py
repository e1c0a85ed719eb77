"""Hints (Romero et al. 2015, FitNets, eq. 3)."""

from torch import Tensor

from espalier.distillation.losses.averages import wide
from espalier.distillation.losses.sizes import same_size


def hints(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference between two layers.

    The student's are to have the teacher's channels: a learned 1x1 convolution before gives them
    those. The paper sums over the numbers of a layer and takes half; the mean, as in later
    libraries, is the same but for the weight.

    Args:
        student: Maps (N, C, H, W).
        teacher: Maps (N, C, H', W'); the larger ones are averaged down.

    Returns:
        mean((student - teacher)²).
    """
    ours, theirs = same_size(wide(student), wide(teacher))
    return (ours - theirs).square().mean()
