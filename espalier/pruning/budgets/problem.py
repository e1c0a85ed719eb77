"""The problem of a budget: the choice of portions of layers to remove under a limit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.costs import Cost
from espalier.pruning.groups import Groups

_LEAST = 0.25  # fraction that a layer keeps in one cut: a layer near zero width splits the network

Kept = NDArray[np.bool_]
"""(count,) whether each group is kept."""


@dataclass(frozen=True)
class Portion:
    """Groups of one layer that are removed together.

    Attributes:
        members: (n,) numbers of the groups.
        importance: what is lost with them: the sum of their scores, or a measured loss.
        highest: highest score among them.
    """

    members: NDArray[np.int64]
    importance: float
    highest: float


@dataclass(frozen=True)
class Layer:
    """Groups that compete.

    Attributes:
        width: number of groups.
        portions: removable portions, in order.
        importance: importance of all its groups together.
    """

    width: int
    portions: list[Portion]
    importance: float

    def with_shares(self, weight: float) -> "Layer":
        """The layer with importances relative to what is left of it.

        A portion loses `weight * log(1 / (1 - x))`, where x is its part of the importance that is
        left of the layer: the thinner the layer, the more important is the rest. Over all layers,
        the loss is the logarithm of a product, as in Zhang et al. (2016), section 3.4.

        Args:
            weight: importance of the layer beside others.

        Example:
            Four groups of importance 1 and the weight 1: the first loses log(4 / 3), the second
            log(3 / 2), the third log(2).
        """
        left, portions = self.importance, []
        for portion in self.portions:
            rest = left - portion.importance
            lost = weight * math.log(left / rest) if rest > 0 else 0.0  # all are zero
            portions.append(replace(portion, importance=lost))
            left = rest
        return replace(self, portions=portions)


@dataclass(frozen=True)
class Limit:
    """A limit on a cost.

    Attributes:
        cost: limited cost.
        most: largest allowed cost.
        saved: cost that budgets want to save on the way to the limit: the limited one, or a time.
    """

    cost: Cost
    most: float
    saved: Cost

    @classmethod
    def of(cls, cost: Cost, most: float) -> Self:
        """A limit on the cost that is saved."""
        return cls(cost, most, cost)


@dataclass(frozen=True)
class Problem:
    """A choice of groups under limits.

    Attributes:
        count: number of groups.
        layers: removable portions, by layer.
        limits: limits that all hold after the choice.
        align: number of groups of a full portion.
        loss: loss of the network as a function of the kept groups, for budgets that use it.
    """

    count: int
    layers: Sequence[Layer]
    limits: tuple[Limit, ...]
    align: int = 1
    loss: Callable[[Kept], float] | None = None

    @classmethod
    def of(
        cls,
        groups: Groups,
        scores: NDArray[np.float64],
        cost: Cost,
        most: float,
        align: int = 1,
    ) -> Self:
        """The problem of groups with scores (count,) under one limit; layers lose their lowest first."""
        layers = layers_of(groups.layer, scores, np.full(groups.count, align))
        return cls(groups.count, layers, (Limit.of(cost, most),), align)

    def holds(self, kept: Kept) -> bool:
        """Whether a choice keeps all limits."""
        return all(limit.cost(kept) <= limit.most for limit in self.limits)


def layers_of(
    layer: NDArray[np.int64], scores: NDArray[np.float64], align: NDArray[np.int64]
) -> list[Layer]:
    """The removable portions of each layer, lowest scores first.

    The width that is left is a multiple of `align`: if the width is none, the first portion is the
    remainder. A layer keeps a quarter of its groups and one full portion.

    Args:
        layer: (count,) layer of each group.
        scores: (count,) score of each group.
        align: (count,) number of groups of its layer in a full portion.

    Example:
        10 groups with `align` 4: the portions are the 2 lowest and the next 4; 4 groups stay.
    """
    return [_layer(np.flatnonzero(layer == number), scores, align) for number in np.unique(layer)]


def _layer(
    members: NDArray[np.int64], scores: NDArray[np.float64], align: NDArray[np.int64]
) -> Layer:
    full = int(align[members].max())
    ascending = members[np.argsort(scores[members], kind="stable")]
    width = len(ascending)
    remainder = width % full
    starts = list(range(remainder, width, full))
    if remainder:
        starts.insert(0, 0)
    ends = [*starts[1:], width]
    stay = max(full, math.ceil(_LEAST * width))
    portions = [
        _portion(ascending[start:end], scores)
        for start, end in zip(starts, ends, strict=True)
        if width - end >= stay
    ]
    return Layer(width, portions, float(scores[members].sum()))


def _portion(members: NDArray[np.int64], scores: NDArray[np.float64]) -> Portion:
    own = scores[members]
    return Portion(members, float(own.sum()), float(own.max()))
