"""Maps of two networks brought to one size."""

from torch import Tensor
from torch.nn import functional as F


def same_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, H, W) of both, averaged down to the smaller height and the smaller width."""
    height, width = (min(one.shape[side], other.shape[side]) for side in (2, 3))
    return averaged(one, height, width), averaged(other, height, width)


def averaged(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps (N, C, H, W) averaged to a height and a width that are not larger."""
    if (
        maps.shape[2] % height == 0 and maps.shape[3] % width == 0
    ):  # the adaptive one is not deterministic on GPUs
        return F.avg_pool2d(maps, (maps.shape[2] // height, maps.shape[3] // width))
    return F.adaptive_avg_pool2d(maps, (height, width))
