"""Sparse training: a penalty on groups of weights before a cut shrinks what the cut will remove."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from espalier.pruning.groups import Groups
from espalier.pruning.patterns import PATTERNS
from espalier.training.loss_inputs import LossInputs, Objective

_EPSILON = 1e-12  # the root of zero has no gradient


class GroupNorms:
    """Differentiable norms of the producers of each group.

    Attributes:
        count: number of groups.
        smallest: (count,) whether a group was among the smallest of its layer at the start.
    """

    def __init__(self, network: nn.Module, groups: Groups, fraction: float) -> None:
        """Look up the weights that produce groups.

        Args:
            network: a network on the device where it is trained.
            groups: its groups.
            fraction: fraction of each layer's groups that are `smallest`, by their L1 norm.
        """
        self.count = groups.count
        self._weights: list[tuple[nn.Parameter, Tensor]] = []
        for name, parameter in network.named_parameters():
            producers = groups.producers(name, parameter.shape)
            if producers is not None:
                # elements without group count for an extra group at the end
                numbers = np.where(producers < 0, groups.count, producers)
                number = torch.from_numpy(numbers).to(parameter.device)
                self._weights.append((parameter, number))
        with torch.no_grad():
            self.smallest = _smallest(self.absolute, torch.from_numpy(groups.layer), fraction)

    @property
    def absolute(self) -> Tensor:
        """(count,) the sum of the absolute weights of each group."""
        return self._sum(torch.abs)

    @property
    def squares(self) -> Tensor:
        """(count,) the sum of the squared weights of each group."""
        return self._sum(torch.square)

    @cached_property
    def sizes(self) -> Tensor:
        """(count,) the number of weights of each group."""
        return self._sum(torch.ones_like).detach()

    def _sum(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """The sum of a function of the weights of each group."""
        values, numbers = [], []
        for weight, number in self._weights:
            value = function(weight)
            shared = [
                dim for dim, size in enumerate(number.shape) if size == 1 and weight.shape[dim] > 1
            ]
            summed = value.sum(shared) if shared else value
            values.append(summed.flatten())
            numbers.append(number.flatten())
        every = torch.cat(values)
        total = every.new_zeros(self.count + 1).index_add(0, torch.cat(numbers), every)
        return total[:-1]


def _smallest(norms: Tensor, layer: Tensor, fraction: float) -> Tensor:
    """(count,) whether a norm is among the smallest of its layer, rounded down to whole groups."""
    chosen = torch.zeros(len(norms), dtype=torch.bool)
    for number in layer.unique():
        members = torch.nonzero(layer == number)[:, 0]
        ascending = norms.cpu()[members].argsort(stable=True)
        chosen[members[ascending[: int(fraction * len(members))]]] = True
    return chosen.to(norms.device)


Penalty = Callable[[GroupNorms, float], Tensor]
"""Maps the norms of all groups, and the progress of the training in [0, 1), to a loss."""


def l1(norms: GroupNorms, progress: float) -> Tensor:
    """The sum of all absolute weights (Tibshirani 1996; on scales of norms, Liu et al. 2017)."""
    del progress
    return norms.absolute.sum()


def l2(norms: GroupNorms, progress: float) -> Tensor:
    """Half the sum of all squares: weight decay on all groups, norms included."""
    del progress
    return norms.squares.sum() / 2


def group_lasso(norms: GroupNorms, progress: float) -> Tensor:
    """The L2 norms of the groups, times the roots of their sizes.

    Source: Yuan and Lin (2006), eq. 2.1; Wen et al. (2016), eq. 2.
    """
    del progress
    return (norms.sizes.sqrt() * (norms.squares + _EPSILON).sqrt()).sum()


def growing(norms: GroupNorms, progress: float) -> Tensor:
    """L2 on the smallest groups, with a factor proportional to the progress of the training.

    The network has time to adapt, and its other groups are not penalised.

    Source: GReg-1, Wang et al. (2021), section 3.2.
    """
    return progress * norms.squares[norms.smallest].sum() / 2


PENALTIES: dict[str, Penalty] = {
    "l1": l1,
    "l2": l2,
    "group_lasso": group_lasso,
    "growing": growing,
}


class Sparse(nn.Module):
    """An objective and a penalty on a network's groups, as one objective."""

    def __init__(
        self,
        objective: Objective,
        network: nn.Module,
        groups: Groups,
        penalty: str,
        strength: float,
        fraction: float = 0.3,
    ) -> None:
        """Look up the weights that produce groups; the network itself is not registered.

        Args:
            objective: loss to minimise besides the penalty; if it is a module, it is trained too.
            network: network to train with this objective, on its present device.
            groups: groups to penalise.
            penalty: one of `PENALTIES`.
            strength: factor of the penalty.
            fraction: fraction of each layer, smallest first, that `growing` penalises.
        """
        super().__init__()
        self.objective = objective
        self.norms = GroupNorms(network, groups, fraction)
        self._penalty, self._strength = PENALTIES[penalty], strength

    def forward(self, inputs: LossInputs) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = self.objective(inputs)
        return loss + self._strength * self._penalty(self.norms, inputs.progress)


def sparse(
    objective: Objective,
    network: nn.Module,
    example: Tensor,
    *,
    penalty: str,
    strength: float,
    fraction: float = 0.3,
    pattern: str = "channels",
    keep: tuple[str, ...] = (),
) -> Sparse:
    """An objective that shrinks the groups that a cut of this pattern can remove.

    Args:
        objective: loss to minimise besides the penalty.
        network: network in evaluation mode, to train with the result.
        example: inputs (N, C, H, W) as the network sees them.
        penalty: one of `PENALTIES`.
        strength: factor of the penalty.
        fraction: fraction of each layer, smallest first, that `growing` penalises.
        pattern: pattern of the later cut.
        keep: names of layers that stay, and are not penalised.

    Raises:
        BadInput: if the network cannot be traced.
    """
    groups = PATTERNS[pattern].find(network, example, keep)
    return Sparse(objective, network, groups, penalty, strength, fraction)
