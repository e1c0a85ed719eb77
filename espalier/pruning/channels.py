"""Patterns `channels` and `heads`: groups are removed with everything that depends on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from espalier.errors import BadInput
from espalier.models.graph import Example
from espalier.pruning.budgets import Kept, Layer, layers_of
from espalier.pruning.costs import (
    Cost,
    Deployment,
    layer_times,
    macs,
    modelled_time,
    one_tensor,
    parameters,
)
from espalier.pruning.finding import line_of_value, traced_shapes
from espalier.pruning.groups import DependencyGroups
from espalier.pruning.scores.score import Losses
from espalier.pruning.spec import PruneSpec
from espalier.pruning.surgery import cut
from espalier.pruning.surgery.proof import check_runs
from espalier.pruning.surgery.respelling import SpellingCall, respell, spelling_calls

_SPELLED = "Its forward pass may spell a width; name the layer before it in `keep`."


@dataclass(frozen=True)
class PrunableChannels:
    """A network and its dependency groups.

    Attributes:
        network: the network.
        example: its inputs.
        groups: its dependency groups.
        spec: the request.
        losses: yields the loss of each training batch, if there are data.
        deployment: surroundings in the deployed file; None for the usual ones of such inputs.
    """

    network: nn.Module
    example: Example
    groups: DependencyGroups
    spec: PruneSpec
    losses: Losses | None
    deployment: Deployment | None = None

    def __post_init__(self) -> None:
        if self.spec.pattern == "heads" and not self.groups.heads.any():
            raise BadInput(
                "Expected a network with attention heads that can be removed; found none."
            )

    @property
    def count(self) -> int:
        """The number of groups."""
        return self.groups.count

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """(count,) the importance of each group."""
        return self.spec.importance.function(self.network, self.groups, self.losses)

    @cached_property
    def spelling_calls(self) -> list[SpellingCall]:
        """The calls that spell sizes in the forward pass of the whole network."""
        return spelling_calls(self.network, self.example)

    @cached_property
    def layers(self) -> Sequence[Layer]:
        """The removable portions of each layer, in order of their scores.

        Scores that compare nothing across layers say which part of a layer is removed; the layer
        weighs as much as the modelled time that it takes part in. With equal scores all layers then
        keep about the same fraction of their time.

        Widths are multiples of `align`, in indices: a group may have several channels, as in
        grouped convolutions. Heads are removed one by one.
        """
        per_portion = self.spec.align // np.gcd(self.spec.align, self.groups.channels)
        align = np.where(self.groups.heads, 1, per_portion)
        layers = layers_of(self.groups.layer, self.scores, align)
        if self.spec.importance.within_layer:
            layers = [
                layer.with_shares(weight)
                for layer, weight in zip(layers, self._layer_times(), strict=True)
            ]
        if self.spec.pattern != "heads":
            return layers
        return [layer for layer in layers if self._is_heads(layer)]

    @cached_property
    def time(self) -> Cost:
        """The modelled time of the kept groups."""
        return modelled_time(self.network, self.groups, self.spec.align)

    def saved(self, target: str, limited: Cost) -> Cost:
        """The modelled time on the way to a target in multiply-accumulates; else what is limited."""
        return self.time if target == "keep_macs" else limited

    def cost(self, target: str, whole: float) -> Cost:
        """The cost of the kept groups, in the unit of a target.

        Args:
            target: name of the target.
            whole: measured cost of the whole network.
        """
        if target == "keep_macs":
            return macs(self.network, self.groups).with_whole(whole)
        if target == "milliseconds":
            example = one_tensor(self.example)
            times = layer_times(self.network, self.groups, example, self.spec.align)
            return times.with_whole(whole)
        elements = parameters(self.network, self.groups)
        if target == "keep_parameters":
            return elements
        in_bytes = replace(elements, noun="bytes", price=lambda left: 4 * elements.price(left))
        return in_bytes.with_whole(whole)

    def cut(self, kept: Kept) -> nn.Module:
        """A copy of the network in which only some groups are left."""
        smaller = cut(self.network, self.groups, kept)
        respell(smaller, self.spelling_calls, self.groups, kept, self.example)
        check_runs(smaller, self.example)
        return smaller

    def explain_unreachable(self) -> str:
        """The reasons why nothing more can be removed."""
        reasons = sorted(self.groups.fixed.items(), key=lambda reason: -reason[1])
        fixed = ", ".join(f"{count} ({why})" for why, count in reasons if why != "kernel")
        return (
            "every layer is down to a quarter of its channels and one block of `align`: a smaller "
            "`align` or a larger target may be in reach. Removable channels: "
            f"{self.groups.count}; channels that must stay: {fixed or 'none'}"
        )

    def granularity(self) -> str:
        """The noun of the nearest possible choices."""
        return "heads" if self.spec.pattern == "heads" else "aligned widths"

    def hint(self) -> str:
        """A way to come nearer to the target; empty if there is none."""
        exact = self.spec.pattern == "heads" or self.spec.align == 1
        return "" if exact else " A smaller `align` comes nearer."

    def _layer_times(self) -> list[float]:
        """The modelled time that the groups of each layer take part in."""
        whole = self.time(np.ones(self.count, bool))
        numbers = np.unique(self.groups.layer)
        return [whole - self.time(self.groups.layer != number) for number in numbers]

    def _is_heads(self, layer: Layer) -> bool:
        return all(self.groups.heads[portion.members].all() for portion in layer.portions)


def verify_cut(
    smaller: nn.Module, groups: DependencyGroups, kept: NDArray[np.bool_], example: Example
) -> None:
    """Refuse a cut network that does not run, or computes values of unexpected shapes.

    A forward pass that spells a width may still run after the cut, and compute something else.

    Args:
        smaller: network after the cut.
        groups: dependency groups of the network before the cut.
        kept: (count,) whether each group stays.
        example: inputs of the network.

    Raises:
        BadInput: if the cut did not work; it names the value.
    """
    try:
        found = traced_shapes(smaller, example)
    except BadInput as error:
        raise BadInput(
            f"Expected a pruned network that runs; found: {error.__cause__}. {_SPELLED}"
        ) from error
    for (name, shape), (_, wanted) in zip(found, groups.shapes(kept), strict=False):
        if shape != wanted:
            raise BadInput(
                f"Expected the value {name} inside the pruned network to have the shape "
                f"{list(wanted)}; found {list(shape)} in "
                f"{line_of_value(smaller, example, name)}. {_SPELLED}"
            )
    if len(found) != len(groups.flow):
        raise BadInput(
            f"Expected {len(groups.flow)} values inside the pruned network, as before; found "
            f"{len(found)}. Its forward pass may test a width; name the layer before it in `keep`."
        )
