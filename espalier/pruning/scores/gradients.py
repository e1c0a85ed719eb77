"""How the loss changes with the weights, for scores that ask it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.pruning.groups import Groups
from espalier.pruning.scores.score import Losses


def first_order_changes(
    network: nn.Module, groups: Groups, losses: Losses | None, score: str
) -> Iterator[NDArray[np.float64]]:
    """For each batch (count,): the first-order change of the loss if a group were nothing, with the sign reversed.

    The change is summed over the weights that read the group: what they take from it times the gradient is the
    derivative of the loss along the group's activation. (Over the weights that make it, the sum vanishes where a batch
    norm follows, which undoes their scale.)

    Raises:
        BadInput: If there are no losses to differentiate.
    """
    for loss, parameters in batches(network, losses, score):
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        yield groups.sum_over_consumers(
            {
                name: gradient * parameter.detach()
                for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
                if gradient is not None
            }
        )


def mean_squared_change(
    network: nn.Module, groups: Groups, losses: Losses | None, score: str
) -> NDArray[np.float64]:
    """(count,) the mean over batches of the squared first-order change of the loss.

    Raises:
        BadInput: If there are no losses to differentiate.
    """
    total, count = np.zeros(groups.count), 0
    for change in first_order_changes(network, groups, losses, score):
        total += change**2
        count += 1
    return total / count


def batches(
    network: nn.Module, losses: Losses | None, score: str
) -> Iterator[tuple[Tensor, dict[str, nn.Parameter]]]:
    """The loss of each batch, and all parameters by name, for gradients that reach frozen weights too.

    Raises:
        BadInput: If there are no losses, or no batch.
    """
    if losses is None:
        raise BadInput(
            f"The score `{score}` should be given losses over training data. Found none."
        )
    parameters, found = dict(network.named_parameters()), False
    with _thawed(parameters):
        for loss in losses(network):
            found = True
            yield loss, parameters
    if not found:
        raise BadInput(
            f"The score `{score}` should be given at least one batch of training data. Found none."
        )


@contextmanager
def _thawed(parameters: dict[str, nn.Parameter]) -> Iterator[None]:
    """Let gradients reach frozen weights too: they are pruned like the others."""
    frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
