"""Patterns `channels` and `heads`: units are removed for real, with everything that depends on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.errors import BadInput
from espalier.pruning.budgets import Layer, layers_of
from espalier.pruning.budgets.problem import Kept
from espalier.pruning.costs import Cost, macs, parameters
from espalier.pruning.dependency_groups import (
    DependencyGroups,
    find_dependency_groups,
    traced_shapes,
)
from espalier.pruning.deployment import one_image
from espalier.pruning.kept_outputs import KeptOutputs, note_kept_outputs
from espalier.pruning.layer_times import layer_times
from espalier.pruning.prune_to_target import Ask, below, reach
from espalier.pruning.scores import SCORES
from espalier.pruning.surgery import cut
from espalier.pruning.trace import Example


def prune_channels(network: nn.Module, example: Example, ask: Ask) -> nn.Module:
    """Remove channels, neurons and heads.

    Raises:
        BadInput: If the target is out of reach, or the cut network does not run.
    """
    return _prune(network, example, ask, heads=False)


def prune_heads(network: nn.Module, example: Example, ask: Ask) -> nn.Module:
    """Remove attention heads, and nothing else.

    Raises:
        BadInput: If there are none, the target is out of reach, or the cut network does not run.
    """
    return _prune(network, example, ask, heads=True)


def _prune(network: nn.Module, example: Example, ask: Ask, *, heads: bool) -> nn.Module:
    units = find_dependency_groups(network, example, ask.keep)
    if heads and not units.heads.any():
        raise BadInput(
            "A network of which heads are removed should have attention. Found none that can be cut."
        )
    subject = _Channels(network, example, units, ask, heads)
    smaller, kept = below(subject, ask) if ask.target.name == "below" else reach(subject, ask)
    _check(smaller, units, kept, example)
    note_kept_outputs(smaller, KeptOutputs.of(units, kept))
    return smaller


@dataclass(frozen=True)
class _Channels:
    """A network and its units; with `heads` only those that are heads may go."""

    network: nn.Module
    example: Example
    units: DependencyGroups
    ask: Ask
    heads: bool

    @property
    def count(self) -> int:
        return self.units.count

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        return SCORES[self.ask.score].function(self.network, self.units, self.ask.losses)

    @cached_property
    def layers(self) -> Sequence[Layer]:
        # a head is many channels, and so is a position in all groups of a convolution: the widths are to be multiples
        full = self.ask.align // np.gcd(self.ask.align, self.units.channels)
        align = np.where(self.units.heads, 1, full)
        layers = layers_of(self.units.layer, self.scores, align)
        if not self.heads:
            return layers
        return [
            layer
            for layer in layers
            if all(self.units.heads[part.members].all() for part in layer.portions)
        ]

    def cost(self, target: str, whole: float) -> Cost:
        if target == "keep_macs":
            return macs(self.network, self.units).with_whole(whole)
        if target == "milliseconds":
            return layer_times(
                self.network, self.units, one_image(self.example), self.ask.align
            ).with_whole(whole)
        numbers = parameters(self.network, self.units)
        if target == "keep_parameters":
            return numbers
        return replace(
            numbers, noun="bytes", price=lambda left: 4 * numbers.price(left)
        ).with_whole(whole)

    def cut(self, kept: Kept) -> nn.Module:
        return cut(self.network, self.units, kept)

    def stuck(self) -> str:
        reasons = sorted(self.units.fixed.items(), key=lambda reason: -reason[1])
        fixed = ", ".join(f"{count} ({reason})" for reason, count in reasons if reason != "kernel")
        return (
            "every layer is down to a quarter of its channels and one block of `align`: a smaller `align` or a larger "
            f"target may be in reach. Removable channels: {self.units.count}; what must stay: {fixed or 'nothing'}"
        )

    def nearest(self) -> str:
        return "heads are" if self.heads else "aligned widths are"

    def advice(self) -> str:
        return "" if self.heads or self.ask.align == 1 else " A smaller `align` comes nearer."


def _check(
    smaller: nn.Module, units: DependencyGroups, kept: NDArray[np.bool_], example: Example
) -> None:
    """Refuse a cut that did not work: where a forward pass spells a width, it may even run, and mean something else."""
    try:
        found = traced_shapes(smaller, example)
    except BadInput as error:
        raise BadInput(
            f"A pruned network should still run. Found: {error.__cause__}. Its forward pass may spell a width; name "
            "the layer before it in `keep`."
        ) from error
    for (name, shape), (_, wanted) in zip(found, units.shapes(kept), strict=False):
        if shape != wanted:
            raise BadInput(
                f"Inside a pruned network the value {name} should be of the shape {list(wanted)}. Found {list(shape)}: "
                "its forward pass may spell a width; name the layer before it in `keep`."
            )
    if len(found) != len(units.flow):
        raise BadInput(
            f"A pruned network should compute {len(units.flow)} values like the whole one. Found {len(found)}: its "
            "forward pass may ask for a width; name the layer before it in `keep`."
        )
