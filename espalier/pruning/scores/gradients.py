"""Changes of the loss with the weights, for scores that differentiate it."""

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
    """For each batch (count,): the negative first-order change of the loss without each group.

    The change is summed over the consumers of the group: what they read of it times the gradient is
    the derivative of the loss along the group's activation. Over the producers the sum vanishes
    where a batch norm follows, because the norm undoes their scale.

    Args:
        network: a network in evaluation mode.
        groups: groups to score.
        losses: yields the loss of each training batch.
        score: name of the score, for messages.

    Raises:
        BadInput: if there are no losses to differentiate.
    """
    for loss, parameters in batches(network, losses, score):
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        changes = {
            name: gradient * parameter.detach()
            for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
            if gradient is not None
        }
        yield groups.sum_over_consumers(changes)


def mean_squared_change(
    network: nn.Module, groups: Groups, losses: Losses | None, score: str
) -> NDArray[np.float64]:
    """(count,) the mean over batches of the squared first-order change of the loss.

    Raises:
        BadInput: if there are no losses to differentiate.
    """
    total, count = np.zeros(groups.count), 0
    for change in first_order_changes(network, groups, losses, score):
        total += change**2
        count += 1
    return total / count


def batches(
    network: nn.Module, losses: Losses | None, score: str
) -> Iterator[tuple[Tensor, dict[str, nn.Parameter]]]:
    """The loss of each batch, and all parameters by name; frozen ones get gradients as well.

    Raises:
        BadInput: if there are no losses, or no batch.
    """
    if losses is None:
        raise BadInput(f"Expected losses over training data for `score: {score}`; found none.")
    parameters, found = dict(network.named_parameters()), False
    with _unfrozen(parameters):
        for loss in losses(network):
            found = True
            yield loss, parameters
    if not found:
        raise BadInput(f"Expected a batch of training data for `score: {score}`; found none.")


@contextmanager
def _unfrozen(parameters: dict[str, nn.Parameter]) -> Iterator[None]:
    """Enable gradients of frozen parameters inside the block: they are pruned like the others."""
    frozen = [parameter for parameter in parameters.values() if not parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)
