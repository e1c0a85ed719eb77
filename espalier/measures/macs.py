"""The work of a network."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Shape = tuple[int, ...] | tuple[tuple[int, ...], ...]
"""Of one image, or of each of several inputs, without the batch."""


@torch.no_grad()
def count_macs(network: nn.Module, shape: Shape) -> int:
    """Multiply-accumulates for one image of `shape` (C, H, W): of convolutions, matrix products and attention."""
    first = next(network.parameters(), None)
    device = first.device if first is not None else torch.device("cpu")
    dtype = first.dtype if first is not None else torch.float32
    modes = {module: module.training for module in network.modules()}
    network.eval()
    with counted() as counter:
        network(*(torch.zeros(1, *one, device=device, dtype=dtype) for one in _each(shape)))
    for module, training in modes.items():
        module.training = training
    return int(counter.get_total_flops() // 2)


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Count what is computed inside; a multiply-accumulate is two operations."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(
        False
    )  # it is one operator, of which the counter knows nothing
    try:
        with FlopCounterMode(display=False) as counter:
            yield counter
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def count_parameters(network: nn.Module) -> int:
    """Numbers that are learned; shared ones count once."""
    return sum(parameter.numel() for parameter in network.parameters())


def fraction_of_zeros(network: nn.Module) -> float:
    """The part of the weights of layers that is zero: biases and norms do not count."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    return zeros / max(1, sum(weight.numel() for weight in weights))


def _each(shape: Shape) -> list[tuple[int, ...]]:
    inner = [one for one in shape if isinstance(one, tuple)]
    return inner or [tuple(one for one in shape if isinstance(one, int))]
