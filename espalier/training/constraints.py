"""What a network was made to be stays so while it is trained further."""

from typing import Protocol

import torch
from torch import nn

from espalier.models.structure import masked_weights, shared_weights


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
        self._weight.masked_fill_(
            ~self._mask, 0.0
        )  # a product would make negative zeros, and they are other bits


class Shared:
    """What is equal in a weight stays equal: the codebook of shared weights, whose centroids are trained."""

    def __init__(self, weight: nn.Parameter) -> None:
        """Hold which numbers are equal now."""
        self._weight = weight
        values, self._index = torch.unique(weight.detach().flatten(), return_inverse=True)
        self._counts = torch.bincount(self._index, minlength=len(values))
        places = torch.arange(len(self._index), device=weight.device)
        self._first = torch.full_like(self._counts, len(places)).scatter_reduce_(
            0, self._index, places, "amin"
        )

    @torch.no_grad()
    def before_step(self) -> None:
        """Let all members of a centroid have the mean of their gradients.

        The mean is the gradient's projection on what may be moved, so a learning rate for free
        weights serves here; the gradient of the centroid (Han et al. 2016, eq. 3) is the sum, so
        many times the mean as there are members.
        """
        gradient = self._weight.grad
        if gradient is None:
            return
        sums = torch.zeros(len(self._counts), dtype=torch.float64, device=gradient.device)
        sums.index_add_(0, self._index, gradient.flatten().double())
        gradient.copy_((sums / self._counts)[self._index].view(gradient.shape))

    @torch.no_grad()
    def after_step(self) -> None:
        """Let all members be the first of them: the vectors of a processor may round the last few another way."""
        flat = self._weight.flatten()
        self._weight.copy_(flat[self._first][self._index].view(self._weight.shape))


def constraints_of(network: nn.Module) -> list[Constraint]:
    """What was noted of a network that training must respect."""
    parameters = dict(network.named_parameters())
    zeros: list[Constraint] = [Zeros(parameters[name]) for name in masked_weights(network)]
    shared: list[Constraint] = [Shared(parameters[name]) for name in shared_weights(network)]
    return [*zeros, *shared]
