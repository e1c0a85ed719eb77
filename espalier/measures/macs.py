"""The work of a network."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from espalier.models.graph import Example, evaluating


@torch.no_grad()
def count_macs(network: nn.Module, example: Example) -> int:
    """Multiply-accumulates for one example: of convolutions, matrix products and attention.

    Args:
        network: network; its modes are left as they were.
        example: inputs (N, ...) as the network sees them, of any N, or one such tensor for each of
            several inputs. Their values are not used.
    """
    first = next(network.parameters(), None)
    inputs = [
        _one(value, first) for value in (example if isinstance(example, tuple) else (example,))
    ]
    steps = _recurrent_layers_in_steps(network)
    with evaluating(network), _without_gradients(network), steps, counted() as counter:
        network(*inputs)
    return int(counter.get_total_flops() // 2)


def _one(value: Tensor, weight: Tensor | None) -> Tensor:
    """One example of zeros, on the network's device and in its type where it is not integer."""
    zeros = torch.zeros(1, *value.shape[1:], dtype=value.dtype)
    if weight is None:
        return zeros.to(value.device)
    return zeros.to(weight) if zeros.is_floating_point() else zeros.to(weight.device)


@contextmanager
def _without_gradients(network: nn.Module) -> Iterator[None]:
    """No parameter wants a gradient: torch's counter fails where a layer is called with one."""
    wanting = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in wanting:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanting:
            parameter.requires_grad_(True)


def _recurrent_layers_in_steps(network: nn.Module) -> AbstractContextManager[object]:
    """A context in which recurrent layers run as matrix products: the counter has no formula for oneDNN's own."""
    if not any(isinstance(module, nn.RNNBase) for module in network.modules()):
        return nullcontext()
    steps: AbstractContextManager[object] = torch.backends.mkldnn.flags(enabled=False)
    return steps


@contextmanager
def counted() -> Iterator[FlopCounterMode]:
    """Count what is computed inside; a multiply-accumulate is two operations."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(
        False
    )  # it is one operator, which the counter does not know
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
