"""Constraints: masks and shared weights that further training keeps."""

from typing import Protocol

import torch
from torch import nn

from espalier.models.structure import masked_weights, shared_weights


class Constraint(Protocol):
    """A property of some weights that holds before a step and is restored after it."""

    def before_step(self) -> None:
        """Called when the gradients are computed."""

    def after_step(self) -> None:
        """Called when the optimizer has moved the weights."""


class Zeros:
    """Keeps the zeros of a weight: the mask of pruned single weights."""

    def __init__(self, weight: nn.Parameter) -> None:
        """Record which numbers are zero."""
        self._weight, self._mask = weight, weight.detach() != 0

    def before_step(self) -> None:
        """Set the gradients of the zeros to zero, so that norm and momentum do not include them."""
        if self._weight.grad is not None:
            self._weight.grad.mul_(self._mask)

    @torch.no_grad()
    def after_step(self) -> None:
        """Set to zero what the momentum of an optimizer moved."""
        # a product would make negative zeros, whose bits differ
        self._weight.masked_fill_(~self._mask, 0.0)


class Shared:
    """Keeps equal numbers of a weight equal: the codebook of shared weights, whose centroids train."""

    def __init__(self, weight: nn.Parameter) -> None:
        """Record which numbers are equal."""
        self._weight = weight
        values, self._index = torch.unique(weight.detach().flatten(), return_inverse=True)
        self._counts = torch.bincount(self._index, minlength=len(values))
        places = torch.arange(len(self._index), device=weight.device)
        self._first = torch.full_like(self._counts, len(places)).scatter_reduce_(
            0, self._index, places, "amin"
        )

    @torch.no_grad()
    def before_step(self) -> None:
        """Replace the gradient of each member of a centroid by the mean over its members.

        The mean projects the gradient onto the moves that keep members equal, so learning rates for
        free weights fit. The gradient of the centroid (Han et al. 2016, eq. 3) is the sum: the mean
        times the number of members.
        """
        gradient = self._weight.grad
        if gradient is None:
            return
        sums = torch.zeros(len(self._counts), dtype=torch.float64, device=gradient.device)
        sums.index_add_(0, self._index, gradient.flatten().double())
        gradient.copy_((sums / self._counts)[self._index].view(gradient.shape))

    @torch.no_grad()
    def after_step(self) -> None:
        """Set all members to the first of them: vector units may round the last few differently."""
        flat = self._weight.flatten()
        self._weight.copy_(flat[self._first][self._index].view(self._weight.shape))


def constraints_of(network: nn.Module) -> list[Constraint]:
    """The constraints of a network: its masks and its shared weights."""
    parameters = dict(network.named_parameters())
    zeros: list[Constraint] = [Zeros(parameters[name]) for name in masked_weights(network)]
    shared: list[Constraint] = [Shared(parameters[name]) for name in shared_weights(network)]
    return [*zeros, *shared]
