"""First-order Taylor expansion of the loss (Molchanov et al. 2019, eq. 8)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.pruning.units import Units


def taylor(
    network: nn.Module, units: Units, losses: Callable[[nn.Module], Iterator[Tensor]] | None = None
) -> NDArray[np.float64]:
    """The squared first-order change of the loss if a unit were nothing, averaged over batches.

    The change is summed over the weights that read the unit: what they take from it times the gradient is the
    derivative of the loss along the unit's activation. (Over the weights that make it, the sum vanishes where a batch
    norm follows, which undoes their scale.)

    Raises:
        BadInput: If there are no losses to differentiate.
    """
    if losses is None:
        raise BadInput("The score `taylor` should be given losses over training data. Found none.")
    parameters = {name: parameter for name, parameter in network.named_parameters() if name in units.where}
    total, batches = np.zeros(units.count), 0
    with _thawed(parameters.values()):
        for loss in losses(network):
            gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
            change = {
                name: gradient * parameter.detach()
                for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
                if gradient is not None
            }
            total += units.over_columns(change) ** 2
            batches += 1
    if not batches:
        raise BadInput("The score `taylor` should be given at least one batch of training data. Found none.")
    return total / batches


@contextmanager
def _thawed(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Let gradients reach frozen weights too: they are pruned like the others."""
    frozen = [parameter for parameter in parameters if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
