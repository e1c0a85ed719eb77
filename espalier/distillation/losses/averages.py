"""Precision and averages of losses: at least single precision, averaged over examples."""

import torch
from torch import Tensor

_NARROW = (torch.float16, torch.bfloat16)


def wide(values: Tensor) -> Tensor:
    """The same values in a type in which sums and exponentials keep their digits: half precision becomes single."""
    return values.float() if values.dtype in _NARROW else values


def average(each: Tensor, weights: Tensor | None = None) -> Tensor:
    """The sum of the examples' losses (N,), each times its weight (N,) where there are some, over their number."""
    return each.mean() if weights is None else (each * weights).mean()
