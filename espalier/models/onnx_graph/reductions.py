"""Operators that reduce whole dimensions."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Reduction = Callable[..., Tensor]


def _reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Reduction:
    """The operator of a function of (x, dimensions, whether they stay with size 1)."""

    def operator(
        x: Tensor,
        axes_operand: Sequence[int] | None = None,
        *,
        axes: Sequence[int] | None = None,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        chosen = list(axes or axes_operand or ())
        if not chosen and noop_with_empty_axes:
            return x
        return function(x, chosen or list(range(x.ndim)), bool(keepdims))

    return operator


reduce_mean = _reduction(lambda x, axes, keep: x.mean(axes, keepdim=keep))
reduce_sum = _reduction(lambda x, axes, keep: x.sum(axes, keepdim=keep))
reduce_max = _reduction(lambda x, axes, keep: x.amax(axes, keepdim=keep))
reduce_min = _reduction(lambda x, axes, keep: x.amin(axes, keepdim=keep))
reduce_l2 = _reduction(lambda x, axes, keep: torch.linalg.vector_norm(x, dim=axes, keepdim=keep))
