"""Networks on torch's meta device, where tensors have shapes and no memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = ("normal_", "uniform_", "erfinv_", "bernoulli_", "random_")


@contextmanager
def without_memory() -> Iterator[None]:
    """New tensors are on the meta device inside the block, and random weights are not drawn for them."""
    with torch.device("meta"), _NoDraws():
        yield


class _NoDraws(TorchFunctionMode):
    """Leaves out draws of random weights: without memory they have no values.

    On the meta device torch computes them by decompositions, whose import takes 2 s in each process.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, unless it draws values for a tensor without memory."""
        if getattr(func, "__name__", "") in _DRAWS and args and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))
