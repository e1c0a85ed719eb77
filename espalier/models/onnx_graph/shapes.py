"""Operators that lay a tensor out anew, join tensors, or take parts of them."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

BATCH = -1
"""The size of the dimension that follows the batch."""

_PADDING = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def reshape(x: Tensor, runs: Sequence[Sequence[Any]]) -> Tensor:
    """Merge and split dimensions in runs of equal volume.

    Args:
        x: tensor (...).
        runs: for each run the number of dimensions before it, and the sizes after it: a number, None
            for the size that follows from the others, or -1 for that of the batch. So sizes follow
            the channels that pruning leaves.

    Example:
        `[[1, [-1]], [1, [2, None]]]` splits (N, 8) into (N, 2, 4), and (N, 6) into (N, 2, 3).
    """
    sizes: list[int] = []
    start = 0
    for count, after in runs:
        before = x.shape[start : start + count]
        start += count
        if BATCH in after:
            sizes += after
            continue
        volume = prod(int(size) for size in before)
        known = prod(size for size in after if size is not None)
        free = volume // known
        sizes += [free if size is None else size for size in after]
    return x.reshape(sizes)


def expand(x: Tensor, sizes: Sequence[int | None]) -> Tensor:
    """Repeat dimensions of size 1; None leaves a dimension as it is."""
    return x.expand([BATCH if size is None else size for size in sizes])


def repeat_batch(x: Tensor, example: Tensor, axis: int) -> Tensor:
    """Repeat a constant along one dimension as often as there are examples."""
    sizes = [-1] * x.ndim
    sizes[axis] = example.shape[0]
    return x.expand(sizes)


def flatten(x: Tensor) -> Tensor:
    """Merge all dimensions but the batch."""
    return torch.flatten(x, 1)


def transpose(x: Tensor, *, perm: Sequence[int] | None = None) -> Tensor:
    """Change the order of the dimensions; by default reverse it."""
    return x.permute(list(perm or range(x.ndim)[::-1]))


def squeeze(
    x: Tensor, axes_operand: Sequence[int] | None = None, *, axes: Sequence[int] | None = None
) -> Tensor:
    """Drop dimensions of size 1; without axes all of them but the batch."""
    chosen = axes or axes_operand
    if chosen is None:
        chosen = [dim for dim in range(1, x.ndim) if x.shape[dim] == 1]
    for dim in sorted((dim % x.ndim for dim in chosen), reverse=True):
        x = x.squeeze(dim)
    return x


def unsqueeze(
    x: Tensor, axes_operand: Sequence[int] | None = None, *, axes: Sequence[int] | None = None
) -> Tensor:
    """Insert dimensions of size 1."""
    chosen = list(axes or axes_operand or ())
    rank = x.ndim + len(chosen)
    for dim in sorted(dim % rank for dim in chosen):
        x = x.unsqueeze(dim)
    return x


def concatenate(*operands: Tensor, axis: int) -> Tensor:
    """Join tensors along one dimension."""
    return torch.cat(operands, axis)


def split(
    x: Tensor,
    sizes: Sequence[int] | None = None,
    *,
    axis: int = 0,
    split: Sequence[int] | None = None,
    num_outputs: int | None = None,
) -> Sequence[Tensor]:
    """Cut a tensor into parts along one dimension; equal ones are found by their number."""
    chosen = list(split or sizes or ())
    if num_outputs or len(set(chosen)) == 1:
        return torch.chunk(x, num_outputs or len(chosen), axis)
    return torch.split(x, chosen, axis)


def slice_(
    x: Tensor,
    start_operand: Sequence[int] | None = None,
    end_operand: Sequence[int] | None = None,
    axes_operand: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    *,
    starts: Sequence[int] | None = None,
    ends: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
) -> Tensor:
    """Take a range of some dimensions.

    Raises:
        ValueError: if a step is negative.
    """
    first = list(starts or start_operand or ())
    last = list(ends or end_operand or ())
    dims = list(axes or axes_operand or range(len(first)))
    strides = list(steps or [1] * len(dims))
    parts: list[slice] = [slice(None)] * x.ndim
    for dim, begin, end, step in zip(dims, first, last, strides, strict=True):
        if step < 0:
            raise ValueError(f"a step of {step}")
        size = int(x.shape[dim])
        bounds = slice(begin, end, step).indices(size)
        if bounds != (0, size, 1):
            parts[dim] = slice(*bounds)
    return x[tuple(parts)]


def gather(x: Tensor, index: Any, *, axis: int = 0) -> Tensor:
    """Take one index of a dimension, which is dropped, or a tensor of indices."""
    if isinstance(index, int):
        return x.select(axis, index)
    whole = [slice(None)] * (axis % x.ndim)
    taken: Tensor = x[(*whole, index)]
    return taken


def pad(
    x: Tensor,
    amounts: Sequence[int] | None = None,
    value_operand: float | None = None,
    axes: Sequence[int] | None = None,
    *,
    mode: str = "constant",
    pads: Sequence[int] | None = None,
    value: float = 0.0,
) -> Tensor:
    """Add values before and after those of some dimensions."""
    given = list(pads or amounts or ())
    dims = list(axes or range(x.ndim))
    before = dict.fromkeys(range(x.ndim), 0)
    after = dict(before)
    for place, dim in enumerate(dims):
        before[dim % x.ndim] = given[place]
        after[dim % x.ndim] = given[len(dims) + place]
    ordered: list[int] = []
    for dim in reversed(range(x.ndim)):
        ordered += [before[dim], after[dim]]
    while ordered[-2:] == [0, 0]:
        ordered = ordered[:-2]
    if not ordered:
        return x
    if mode != "constant":
        return F.pad(x, ordered, mode=_PADDING[mode])
    return F.pad(x, ordered, value=value if value_operand is None else value_operand)


def tile(x: Tensor, times: Sequence[int]) -> Tensor:
    """Repeat the tensor along each dimension."""
    return x.repeat(list(times))


def depth_to_space(x: Tensor, *, blocksize: int, mode: str = "DCR") -> Tensor:
    """Move channels into blocks of positions."""
    if mode == "CRD":
        return F.pixel_shuffle(x, blocksize)
    parts: Tensor = x.unflatten(1, (blocksize, blocksize, -1))
    blocks = parts.permute(0, 3, 4, 1, 5, 2)
    return blocks.flatten(4, 5).flatten(2, 3)


def space_to_depth(x: Tensor, *, blocksize: int) -> Tensor:
    """Move blocks of positions into channels."""
    height, width = (int(size) // blocksize for size in x.shape[2:])
    rows: Tensor = x.unflatten(2, (height, blocksize))
    parts: Tensor = rows.unflatten(4, (width, blocksize))
    blocks = parts.permute(0, 3, 5, 1, 2, 4)
    return blocks.flatten(1, 3)
