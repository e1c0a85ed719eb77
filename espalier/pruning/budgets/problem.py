"""What a budget is asked: which portions of which layers should go, so that the rest costs no more than a limit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.costs import Cost
from espalier.pruning.groups import Groups

_LEAST = 0.25  # of its units a layer keeps in one cut: a layer that is nearly gone cuts the network in two

Kept = NDArray[np.bool_]


@dataclass(frozen=True)
class Portion:
    """Units of one layer that go together.

    Attributes:
        members: (n,) their numbers.
        worth: What is lost with them: the sum of their scores, or something measured.
        highest: The highest score among them.
    """

    members: NDArray[np.int64]
    worth: float
    highest: float


@dataclass(frozen=True)
class Layer:
    """Units that are rivals.

    Attributes:
        width: How many they are.
        portions: Those that may go, in this order.
    """

    width: int
    portions: list[Portion]


@dataclass(frozen=True)
class Problem:
    """A choice to be made.

    Attributes:
        count: How many units there are.
        layers: What may go, by layer.
        cost: What is limited.
        most: What it may come to.
        align: The size of a full portion.
        time: Milliseconds in the runtime: only for budgets that ask for it.
        loss: The loss of the network in which only some units are kept: only for budgets that ask for it.
    """

    count: int
    layers: Sequence[Layer]
    cost: Cost
    most: float
    align: int = 1
    time: Cost | None = None
    loss: Callable[[Kept], float] | None = None

    @classmethod
    def of(
        cls, groups: Groups, scores: NDArray[np.float64], cost: Cost, most: float, align: int = 1
    ) -> Self:
        """The problem of groups with scores (count,), of which each layer loses the lowest first."""
        layers = layers_of(groups.layer, scores, np.full(groups.count, align))
        return cls(groups.count, layers, cost, most, align)


def layers_of(
    layer: NDArray[np.int64], scores: NDArray[np.float64], align: NDArray[np.int64]
) -> list[Layer]:
    """What may go of each layer: its lowest scores first, so that what is left is a multiple of `align`.

    A layer keeps a quarter of its units and one full portion. If its width is no multiple, the first portion is what is
    over.

    Args:
        layer: (count,) the layer of each unit.
        scores: (count,)
        align: (count,) how many units of its layer make a full portion.
    """
    found = []
    for number in np.unique(layer):
        members = np.flatnonzero(layer == number)
        full = int(align[members].max())
        ordered = members[np.argsort(scores[members], kind="stable")]
        over = len(ordered) % full
        starts = [*([0] if over else []), *range(over, len(ordered), full)]
        ends = [*starts[1:], len(ordered)]
        stay = max(full, math.ceil(_LEAST * len(ordered)))
        parts = [
            ordered[a:b] for a, b in zip(starts, ends, strict=True) if len(ordered) - b >= stay
        ]
        found.append(
            Layer(
                len(ordered),
                [
                    Portion(part, float(scores[part].sum()), float(scores[part].max()))
                    for part in parts
                ],
            )
        )
    return found
