"""Pattern `blocks`: whole residual blocks are removed, so that the network becomes shallower."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.models.structure import remove
from espalier.pruning.budgets import Kept, Layer, Portion
from espalier.pruning.costs import Cost, Deployment, compute_layer_times, cost, products
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.groups import BlockGroups
from espalier.pruning.scores.score import Losses
from espalier.pruning.spec import PruneSpec


@dataclass(frozen=True)
class PrunableBlocks:
    """A network and its residual blocks; each block is removed by itself.

    Attributes:
        network: the network.
        example: its inputs (N, C, H, W).
        groups: its residual blocks.
        spec: the request.
        losses: yields the loss of each training batch, if there are data.
        deployment: surroundings in the deployed file; None for the usual ones of such inputs.
    """

    network: nn.Module
    example: Tensor
    groups: BlockGroups
    spec: PruneSpec
    losses: Losses | None
    deployment: Deployment | None = None

    def __post_init__(self) -> None:
        if not self.groups.count:
            raise BadInput("Expected a network with residual blocks of one shape; found none.")

    @property
    def count(self) -> int:
        """The number of blocks."""
        return self.groups.count

    @cached_property
    def layers(self) -> Sequence[Layer]:
        """One portion per block. `uniform` sees stages; other budgets compare all blocks."""
        scores = self.spec.importance.function(self.network, self.groups, self.losses)
        alone = np.arange(self.count)
        stage = self.groups.layer if self.spec.budget == "uniform" else alone
        ascending = np.lexsort((scores, stage))
        layers = []
        for number in np.unique(stage):
            members = [block for block in ascending if stage[block] == number]
            portions = [_portion(block, float(scores[block])) for block in members]
            layers.append(Layer(len(members), portions, float(scores[members].sum())))
        return layers

    def cost(self, target: str, whole: float) -> Cost:
        """The sum over the kept blocks, in the unit of a target.

        Args:
            target: name of the target.
            whole: measured cost of the whole network.
        """
        each = self._costs(target, whole)
        terms = [[(1, np.array([block]))] for block in range(self.count)]
        return cost(target, self.count, terms, products(each.tolist())).with_whole(whole)

    def saved(self, target: str, limited: Cost) -> Cost:
        """The limited cost: a block takes its work, memory and time with it."""
        del target
        return limited

    def cut(self, kept: Kept) -> nn.Module:
        """A copy of the network without the blocks that are not kept."""
        smaller = copy.deepcopy(self.network)
        removed = [name for name, stays in zip(self.groups.names, kept, strict=True) if not stays]
        remove(smaller, removed)
        return smaller

    def explain_unreachable(self) -> str:
        """The reason why nothing more can be removed."""
        return f"all of the {self.count} removable residual blocks are removed"

    def granularity(self) -> str:
        """The noun of the nearest possible choices."""
        return "blocks"

    def hint(self) -> str:
        """No setting comes nearer to the target."""
        return ""

    def _costs(self, target: str, whole: float) -> NDArray[Any]:
        if target == "keep_macs":
            return self.groups.macs
        if target == "milliseconds":
            return self._milliseconds(whole)
        return self._parameters() * (4 if target == "bytes" else 1)

    def _parameters(self) -> NDArray[np.float64]:
        ones = {name: torch.ones_like(value) for name, value in self.network.named_parameters()}
        return self.groups.sum_over_producers(ones)

    def _milliseconds(self, whole: float) -> NDArray[np.float64]:
        """The latency of each block: its layers' share of the time of all layers."""
        layers = find_dependency_groups(self.network, self.example).compute_layers
        times = compute_layer_times(self.network, layers, self.example)
        share = np.zeros(self.count)
        for weight, time in times.items():
            if weight in self.groups.owner:
                share[self.groups.owner[weight]] += time
        return whole * share / sum(times.values())


def _portion(block: int, score: float) -> Portion:
    return Portion(np.array([block]), importance=score, highest=score)
