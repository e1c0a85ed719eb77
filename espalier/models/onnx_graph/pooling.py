"""Operators over windows: pooling and scaling."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Pool = Callable[..., Tensor]

_MAX: tuple[Pool, ...] = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
_AVERAGE: tuple[Pool, ...] = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)
_GLOBAL_AVERAGE: tuple[Pool, ...] = (
    F.adaptive_avg_pool1d,
    F.adaptive_avg_pool2d,
    F.adaptive_avg_pool3d,
)
_GLOBAL_MAX: tuple[Pool, ...] = (
    F.adaptive_max_pool1d,
    F.adaptive_max_pool2d,
    F.adaptive_max_pool3d,
)
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def global_average_pool(x: Tensor) -> Tensor:
    """The mean over all positions, whose dimensions stay with size 1."""
    return _GLOBAL_AVERAGE[x.ndim - 3](x, 1)


def global_max_pool(x: Tensor) -> Tensor:
    """The maximum over all positions, whose dimensions stay with size 1."""
    return _GLOBAL_MAX[x.ndim - 3](x, 1)


def max_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    ceil_mode: int = 0,
) -> Tensor:
    """The maximum of each window."""
    rank = len(kernel_shape)
    even, amounts = symmetric(pads, rank)
    if even is None or any(2 * pad > size for pad, size in zip(even, kernel_shape, strict=True)):
        x, even = F.pad(x, amounts, value=float("-inf")), [0] * rank
    return _MAX[rank - 1](
        x,
        list(kernel_shape),
        list(strides or [1] * rank),
        even,
        list(dilations or [1] * rank),
        bool(ceil_mode),
    )


def average_pool(
    x: Tensor,
    *,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    count_include_pad: int = 0,
    ceil_mode: int = 0,
) -> Tensor:
    """The mean of each window; padding counts if `count_include_pad`."""
    rank = len(kernel_shape)
    even, amounts = symmetric(pads, rank)
    sizes = (list(kernel_shape), list(strides or [1] * rank))
    pool, ceiling = _AVERAGE[rank - 1], bool(ceil_mode)
    if even is not None:
        return pool(x, *sizes, even, ceiling, bool(count_include_pad))
    padded = pool(F.pad(x, amounts), *sizes, 0, ceiling)
    if count_include_pad:
        return padded
    inside = pool(F.pad(torch.ones_like(x[:1, :1]), amounts), *sizes, 0, ceiling)
    return padded / inside


def resize(
    x: Tensor,
    _roi: Any = None,
    scales: Sequence[float] | None = None,
    sizes: Sequence[int] | None = None,
    *,
    mode: str = "nearest",
    coordinate_transformation_mode: str = "half_pixel",
    nearest_mode: str = "round_prefer_floor",
    cubic_coeff_a: float = -0.75,
    **others: Any,
) -> Tensor:
    """Scale the positions. The check of the outputs finds modes that torch computes otherwise.

    Raises:
        ValueError: if torch has no such mode.
    """
    if others.get("axes") or others.get("antialias"):
        raise ValueError("`axes` or `antialias`")
    target = _target(x, scales, sizes)
    if mode == "nearest":
        exact = coordinate_transformation_mode == "half_pixel" and nearest_mode != "floor"
        return F.interpolate(x, target, mode="nearest-exact" if exact else "nearest")
    corners = coordinate_transformation_mode == "align_corners"
    if mode == "cubic" and cubic_coeff_a == -0.75:
        return F.interpolate(x, target, mode="bicubic", align_corners=corners)
    if mode != "linear":
        raise ValueError(f"mode {mode!r}")
    return F.interpolate(x, target, mode=_LINEAR[x.ndim - 2], align_corners=corners)


def _target(x: Tensor, scales: Sequence[float] | None, sizes: Sequence[int] | None) -> list[int]:
    """The spatial sizes after scaling, from sizes or from factors."""
    if sizes:
        return [int(size) for size in sizes[2:]]
    factors = (scales or ())[2:]
    return [int(size * factor) for size, factor in zip(x.shape[2:], factors, strict=True)]


def symmetric(pads: Sequence[int] | None, rank: int) -> tuple[list[int] | None, list[int]]:
    """Padding as torch's pools take it, and as `F.pad` does.

    Args:
        pads: amounts before each spatial dimension, then those after each.
        rank: number of spatial dimensions.

    Returns:
        The amount of each dimension, None if two ends differ; and the amounts from the last dimension.

    Example:
        >>> symmetric([1, 0, 1, 2], 2)
        (None, [0, 2, 1, 1])
    """
    given = list(pads or [0] * (2 * rank))
    before, after = given[:rank], given[rank:]
    amounts: list[int] = []
    for start, end in zip(reversed(before), reversed(after), strict=True):
        amounts += [start, end]
    return (before if before == after else None), amounts
