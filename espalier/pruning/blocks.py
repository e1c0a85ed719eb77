"""Pattern `blocks`: whole residual blocks are removed, so that a network becomes less deep."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.measures.macs import counted
from espalier.models.blocks import residual_blocks
from espalier.models.structure import remove
from espalier.pruning.budgets import Layer, Portion
from espalier.pruning.budgets.problem import Kept
from espalier.pruning.costs import Cost, cost, products
from espalier.pruning.dependency_groups import find_dependency_groups
from espalier.pruning.layer_times import work_times
from espalier.pruning.prune_to_target import Ask, reach
from espalier.pruning.scores import SCORES


def prune_blocks(network: nn.Module, example: Tensor, ask: Ask) -> nn.Module:
    """Remove whole residual blocks: their input becomes their output.

    Raises:
        BadInput: If there are none, or the target is out of reach.
    """
    groups = find_blocks(network, example, ask.keep)
    if not groups.count:
        raise BadInput(
            "A network of which blocks are removed should have residual blocks of one shape. Found none."
        )
    return reach(Depth(network, example, groups, ask), ask)[0]


@dataclass(frozen=True)
class Blocks:
    """The residual blocks of a network, as groups of weights.

    Attributes:
        names: Of the blocks, in their order.
        layer: (count,) the stage of each: blocks of one stage read values of one shape.
        owner: The block that each parameter belongs to, by its name.
        macs: (count,) the multiply-accumulates of each for one image.
    """

    names: tuple[str, ...]
    layer: NDArray[np.int64]
    owner: Mapping[str, int]
    macs: NDArray[np.int64]

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.names)

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """For each block the sum over all its parameters.

        Args:
            values: A number for each single weight of some parameters, by name.
        """
        total = np.zeros(self.count)
        for name, value in values.items():
            if name in self.owner:
                total[self.owner[name]] += value.double().sum().item()
        return total

    def sum_over_consumers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """The same: what makes a block's output is what reads its input."""
        return self.sum_over_producers(values)

    def makers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The block of a parameter, in as many dimensions as it has."""
        return np.full([1] * len(shape), self.owner[name]) if name in self.owner else None


def find_blocks(network: nn.Module, example: Tensor, keep: tuple[str, ...] = ()) -> Blocks:
    """The residual blocks of a network but those that hold a layer of `keep`, or lie in one.

    Args:
        network: In evaluation mode.
        example: Images (N, C, H, W).
        keep: Names of layers that stay.
    """
    names = [
        name
        for name in residual_blocks(network, example)
        if not any(
            f"{one}.".startswith(f"{name}.") or f"{name}.".startswith(f"{one}.") for one in keep
        )
    ]
    seen = _run(network, names, example[:1])
    shapes = [seen[name][0] for name in names]
    stages = {shape: number for number, shape in enumerate(dict.fromkeys(shapes))}
    owner = {
        parameter: number
        for parameter, _ in network.named_parameters()
        for number, name in enumerate(names)
        if parameter.startswith(f"{name}.")
    }
    layer = np.array([stages[shape] for shape in shapes], np.int64)
    return Blocks(tuple(names), layer, owner, np.array([seen[name][1] for name in names], np.int64))


@torch.no_grad()
def _run(
    network: nn.Module, names: Sequence[str], image: Tensor
) -> dict[str, tuple[tuple[int, ...], int]]:
    """The shape of what each block reads, and its multiply-accumulates, by its name."""
    seen: dict[str, tuple[tuple[int, ...], int]] = {}
    with counted() as counter:

        def before(name: str, args: tuple[Tensor, ...]) -> None:
            seen[name] = tuple(args[0].shape), -counter.get_total_flops()

        def after(name: str) -> None:
            shape, flops = seen[name]
            seen[name] = shape, (flops + counter.get_total_flops()) // 2

        hooks = []
        for name in names:
            block = network.get_submodule(name)
            hooks.append(
                block.register_forward_pre_hook(lambda _, args, name=name: before(name, args))
            )
            hooks.append(
                block.register_forward_hook(lambda _, args, output, name=name: after(name))
            )
        try:
            network(image)
        finally:
            for hook in hooks:
                hook.remove()
    return seen


@dataclass(frozen=True)
class Depth:
    """A network and its blocks, each of which goes by itself."""

    network: nn.Module
    example: Tensor
    groups: Blocks
    ask: Ask

    @property
    def count(self) -> int:
        """How many blocks there are."""
        return self.groups.count

    @cached_property
    def layers(self) -> Sequence[Layer]:
        """Only `uniform` sees stages: other budgets compare each block with all."""
        scores = SCORES[self.ask.score].function(self.network, self.groups, self.ask.losses)
        stage = self.groups.layer if self.ask.budget == "uniform" else np.arange(self.count)
        order = np.lexsort((scores, stage))
        found = []
        for number in np.unique(stage):
            members = [block for block in order if stage[block] == number]
            portions = [
                Portion(np.array([block]), float(scores[block]), float(scores[block]))
                for block in members
            ]
            found.append(Layer(len(members), portions))
        return found

    def cost(self, target: str, whole: float) -> Cost:
        """The sum over the blocks that are kept."""
        if target == "keep_macs":
            figures: NDArray[Any] = self.groups.macs
        elif target == "milliseconds":
            figures = self._milliseconds(whole)
        else:
            figures = self._parameters() * (4 if target == "bytes" else 1)
        terms = [[(1, np.array([block]))] for block in range(self.count)]
        return cost(target, self.count, terms, products(figures.tolist())).with_whole(whole)

    def cut(self, kept: Kept) -> nn.Module:
        """A copy without the blocks that are not kept."""
        smaller = copy.deepcopy(self.network)
        remove(
            smaller,
            [name for name, stays in zip(self.groups.names, kept, strict=True) if not stays],
        )
        return smaller

    def stuck(self) -> str:
        """Why no more can go."""
        return f"all of the {self.count} residual blocks that may go are gone"

    def nearest(self) -> str:
        """What can be chosen among."""
        return "blocks are"

    def advice(self) -> str:
        """Nothing comes nearer."""
        return ""

    def _parameters(self) -> NDArray[np.float64]:
        return self.groups.sum_over_producers(
            {
                name: torch.ones_like(parameter)
                for name, parameter in self.network.named_parameters()
            }
        )

    def _milliseconds(self, whole: float) -> NDArray[np.float64]:
        """Each block's share of the time of the network, as its layers have of the time of all layers."""
        works = find_dependency_groups(self.network, self.example).works
        times = work_times(self.network, works, self.example)
        share = np.zeros(self.count)
        for weight, time in times.items():
            if weight in self.groups.owner:
                share[self.groups.owner[weight]] += time
        return whole * share / sum(times.values())
