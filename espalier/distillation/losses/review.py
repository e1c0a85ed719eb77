"""The hierarchical context loss of knowledge review (Chen et al. 2021, section 3.3)."""

from torch import Tensor

from espalier.distillation.losses.averages import wide
from espalier.distillation.losses.sizes import averaged, same_size

_LEVELS = (4, 2, 1)  # heights and widths to which the maps are averaged


def review(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean squared difference between two layers, at several resolutions.

    The student's map is a fusion of several layers, which
    `espalier.distillation.features.Fusion` computes.

    The maps are compared as they are and averaged to 4x4, 2x2 and 1x1 positions, where that is
    smaller. Each level has half the weight of the one before it, and the weights sum to 1.

    Args:
        student: maps (N, C, H, W).
        teacher: maps (N, C, H', W'); the larger ones are averaged down.

    Returns:
        Weighted mean of the mean squared differences of the levels.

    Example:
        Maps of 2x2 positions have the levels 2x2 and 1x1 with the weights 2/3 and 1/3. Student
        [[2, 0], [0, 0]] and teacher 0 give 2/3 (4/4) + 1/3 (1/2)^2 = 0.75.
    """
    ours, theirs = same_size(wide(student), wide(teacher))
    height, width = ours.shape[2:]
    total, weight, weights = (ours - theirs).square().mean(), 1.0, 1.0
    for level in _LEVELS:
        if level >= max(height, width):
            continue
        size = (min(level, height), min(level, width))
        weight /= 2
        weights += weight
        total = total + weight * (averaged(ours, *size) - averaged(theirs, *size)).square().mean()
    return total / weights
