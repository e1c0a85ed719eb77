"""What a network was made to be stays so while it is trained further."""

from typing import Protocol

import torch
from torch import nn

from espalier.models.changes import changes_of


class Constraint(Protocol):
    """Something that holds of some weights before a step, and is made to hold after it."""

    def before_step(self) -> None:
        """Called when the gradients are there."""

    def after_step(self) -> None:
        """Called when the optimizer has moved the weights."""


class Zeros:
    """What is zero in a weight stays zero: the mask of single weights that were pruned."""

    def __init__(self, weight: nn.Parameter) -> None:
        """Hold what is zero now."""
        self._weight, self._mask = weight, weight.detach() != 0

    def before_step(self) -> None:
        """Take the gradients away, so that they count neither for the norm nor for the momentum."""
        if self._weight.grad is not None:
            self._weight.grad.mul_(self._mask)

    @torch.no_grad()
    def after_step(self) -> None:
        """Set to zero whatever an optimizer's memory moved."""
        self._weight.mul_(self._mask)


def constraints_of(network: nn.Module) -> list[Constraint]:
    """What was noted of a network that training must respect."""
    parameters = dict(network.named_parameters())
    return [Zeros(parameters[name]) for name in changes_of(network).zeros]
