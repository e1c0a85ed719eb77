"""Sparse training: before a cut, a penalty on groups of weights makes what will go small."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from espalier.pruning.blocks import find_blocks
from espalier.pruning.dependency_groups import find_dependency_groups
from espalier.pruning.groups import Groups
from espalier.pruning.weight_elements import find_weight_elements
from espalier.training.engine import LossInputs, Objective


class GroupNorms:
    """The weights of some groups, and what they come to, differentiably.

    Attributes:
        count: How many groups there are.
        going: (count,) whether a group is one of those of its layer that were the smallest at first.
    """

    def __init__(self, network: nn.Module, groups: Groups, fraction: float) -> None:
        """Look at the weights of a network that make groups.

        Args:
            network: On the device where it is trained.
            groups: What is pulled together.
            fraction: How many of each layer's groups are `going`, by their L1 norm.
        """
        self.count = groups.count
        self._weights: list[tuple[nn.Parameter, Tensor]] = []
        for name, parameter in network.named_parameters():
            makers = groups.makers(name, parameter.shape)
            if makers is not None:
                # the last place is for what makes no group: its number is -1
                number = torch.from_numpy(np.where(makers < 0, groups.count, makers)).to(
                    parameter.device
                )
                self._weights.append((parameter, number))
        with torch.no_grad():
            self.going = _lowest(self.sizes, torch.from_numpy(groups.layer), fraction)

    @property
    def sizes(self) -> Tensor:
        """(count,) the sum of the sizes of each group's weights."""
        return self._sum(torch.abs)

    @property
    def squares(self) -> Tensor:
        """(count,) the sum of their squares."""
        return self._sum(torch.square)

    @cached_property
    def numbers(self) -> Tensor:
        """(count,) how many they are."""
        return self._sum(torch.ones_like).detach()

    def _sum(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        parts = []
        for weight, number in self._weights:
            alike = [
                dim for dim, size in enumerate(number.shape) if size == 1 and weight.shape[dim] > 1
            ]
            value = function(weight)
            parts.append(((value.sum(alike) if alike else value).flatten(), number.flatten()))
        values, numbers = (torch.cat(column) for column in zip(*parts, strict=True))
        return values.new_zeros(self.count + 1).index_add(0, numbers, values)[:-1]


def _lowest(sizes: Tensor, layer: Tensor, fraction: float) -> Tensor:
    """(count,) whether a size is within the lowest of its layer, to the next lower whole number of them."""
    chosen = torch.zeros(len(sizes), dtype=torch.bool)
    for number in layer.unique():
        members = torch.nonzero(layer == number)[:, 0]
        order = sizes.cpu()[members].argsort(stable=True)
        chosen[members[order[: int(fraction * len(members))]]] = True
    return chosen.to(sizes.device)


Penalty = Callable[[GroupNorms, float], Tensor]
"""Maps the mass of all groups, and the part of the training that is behind in [0, 1), to a loss."""


def l1(mass: GroupNorms, progress: float) -> Tensor:
    """The sum of the sizes of all weights (Tibshirani 1996; on the scales of norms, Liu et al. 2017)."""
    del progress
    return mass.sizes.sum()


def l2(mass: GroupNorms, progress: float) -> Tensor:
    """Half the sum of all squares: weight decay on what goes, norms included."""
    del progress
    return mass.squares.sum() / 2


def group_lasso(mass: GroupNorms, progress: float) -> Tensor:
    """The norms of the groups, times the roots of their sizes (Yuan and Lin 2006, eq. 2.1; Wen et al. 2016, eq. 2)."""
    del progress
    return (
        mass.numbers.sqrt() * (mass.squares + 1e-12).sqrt()
    ).sum()  # the root of nothing has no gradient


def growing(mass: GroupNorms, progress: float) -> Tensor:
    """L2 on what will go, with a factor that grows in proportion to the steps (GReg-1, Wang et al. 2021, section 3.2).

    The network has time to do without it, while the rest is not pulled at all.
    """
    return progress * mass.squares[mass.going].sum() / 2


PENALTIES: dict[str, Penalty] = {"l1": l1, "l2": l2, "group_lasso": group_lasso, "growing": growing}


def _find_heads(network: nn.Module, example: Tensor, keep: tuple[str, ...]) -> Groups:
    units = find_dependency_groups(network, example, keep)
    heads = np.append(units.heads, False)  # the last place is for what stays: its number is -1
    where = {
        name: {dim: np.where(heads[unit], unit, -1) for dim, unit in dims.items()}
        for name, dims in units.where.items()
    }
    return replace(units, where=where)


_FINDERS: dict[str, Callable[[nn.Module, Tensor, tuple[str, ...]], Groups]] = {
    "channels": find_dependency_groups,
    "heads": _find_heads,
    "blocks": find_blocks,
    "weights": find_weight_elements,
    "n_of_m": find_weight_elements,
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
        """Look at the weights that make groups; the network itself is not registered.

        Args:
            objective: What is minimised beside the penalty. If it is a module, it is trained along.
            network: Is trained with this objective, on the device where it is now.
            groups: What is pulled together.
            penalty: One of `PENALTIES`.
            strength: Its factor.
            fraction: The part of each layer, smallest first, that `growing` pulls on.
        """
        super().__init__()
        self.objective = objective
        self.mass = GroupNorms(network, groups, fraction)
        self._penalty, self._strength = PENALTIES[penalty], strength

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch."""
        loss: Tensor = self.objective(seen)
        return loss + self._strength * self._penalty(self.mass, seen.progress)


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
    """An objective that makes small what a cut of this pattern can remove.

    Args:
        objective: What is minimised beside the penalty.
        network: In evaluation mode; is then trained with the result.
        example: Images (N, C, H, W) as it sees them, two at least.
        penalty: One of `PENALTIES`.
        strength: Its factor.
        fraction: The part of each layer, smallest first, that `growing` pulls on.
        pattern: What the cut will remove.
        keep: Names of layers that stay, and are not pulled.

    Raises:
        BadInput: If the network cannot be traced.
    """
    return Sparse(
        objective, network, _FINDERS[pattern](network, example, keep), penalty, strength, fraction
    )
