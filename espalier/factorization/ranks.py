"""Ranks of all layers, chosen together for one target: energy lost per cost saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidate:
    """A layer that may be factorized.

    Attributes:
        name: Name of the layer.
        outputs: Rows of its weight matrix.
        inputs: Columns of its weight matrix.
        uses: Cost of one weight: 1 for parameters; for multiply-accumulates the number of places of
            an example at which the layer is applied.
        values: Singular values of the weight matrix, in descending order.
    """

    name: str
    outputs: int
    inputs: int
    uses: int
    values: NDArray[np.float64]

    def saved(self, rank: int) -> int:
        """Cost that a pair of a rank saves, negative if it costs more.

        A 4 x 4 weight has 16 elements, a pair of rank 1 has 4 + 4: it saves 8. One of rank 2 saves
        nothing.
        """
        return self.uses * (self.outputs * self.inputs - rank * (self.outputs + self.inputs))

    @cached_property
    def losses(self) -> NDArray[np.float64]:
        """(ranks,) `-log` of the energy (squared singular values) that each rank from 1 keeps.

        Summed over layers it is the logarithm of the product of energies that Zhang et al. (2016,
        section 3.4) maximise under a bound on the cost.
        """
        energy = np.cumsum(self.values**2)
        if energy[-1] == 0:
            return np.zeros(len(energy))
        kept: NDArray[np.float64] = -np.log(np.clip(energy / energy[-1], 1e-300, 1.0))
        return kept


@dataclass(frozen=True)
class Option:
    """A rank that a layer may have.

    Attributes:
        rank: The rank; 0 stands for the layer as it is.
        saved: Cost that it saves.
        loss: Energy that it loses, as in `Candidate.losses`.
    """

    rank: int
    saved: int
    loss: float


_UNCHANGED = Option(0, 0, 0.0)


@dataclass(frozen=True)
class _Step:
    """The move of one layer from a point of its convex hull to the next.

    Attributes:
        layer: Number of the layer.
        slope: Energy lost per cost saved.
        options: Ranks on the way, in descending order; the last one is the end of the step.
    """

    layer: int
    slope: float
    options: tuple[Option, ...]


def options_of(candidate: Candidate, align: int) -> list[Option]:
    """The ranks that are multiples of `align` and save something, in descending order."""
    ranks = range(align, len(candidate.values) + 1, align)
    found = []
    for rank in reversed(ranks):
        saved = candidate.saved(rank)
        if saved > 0:
            found.append(Option(rank, saved, float(candidate.losses[rank - 1])))
    return found


def largest_saving(candidates: Sequence[Candidate], align: int) -> int:
    """The cost that is saved if every layer has its smallest rank."""
    smallest = [options_of(candidate, align)[-1:] for candidate in candidates]
    return sum(option.saved for options in smallest for option in options)


def choose_ranks(candidates: Sequence[Candidate], needed: float, align: int) -> dict[str, int]:
    """Ranks that together save a cost and lose little energy.

    Each layer offers its options as points (cost saved, energy lost). Greedily, the layer moves
    next whose step along the lower convex hull of its points loses the least energy per cost (after
    Zhang et al. 2016, section 3.4, who drop one singular value at a time). The hull is needed
    because the first rank that saves anything saves little and loses much. The last step ends at
    the largest rank on its way that suffices.

    Args:
        candidates: Layers that may be factorized.
        needed: Cost to be saved.
        align: Ranks are multiples of this.

    Returns:
        Ranks by the layer's name; layers that stay are absent. All have their smallest rank if the
        cost cannot be saved.
    """
    steps = []
    for number, candidate in enumerate(candidates):
        steps += _steps(number, options_of(candidate, align))
    steps.sort(
        key=lambda step: (step.slope, step.layer)
    )  # a layer's slopes ascend, so its steps keep their order
    chosen = [_UNCHANGED] * len(candidates)
    total = 0
    for step in steps:
        if total >= needed:
            break
        former = chosen[step.layer]
        sufficient = [one for one in step.options if total - former.saved + one.saved >= needed]
        option = sufficient[0] if sufficient else step.options[-1]
        chosen[step.layer] = option
        total += option.saved - former.saved
    return {
        candidate.name: option.rank
        for candidate, option in zip(candidates, chosen, strict=True)
        if option.rank
    }


def _steps(layer: int, options: Sequence[Option]) -> list[_Step]:
    """The steps along the lower convex hull of a layer's options, to its smallest rank."""
    points = [_UNCHANGED, *options]  # the cost saved ascends
    hull: list[int] = []
    for number in range(len(points)):
        while len(hull) > 1 and not _bends_up(points, hull[-2], hull[-1], number):
            hull.pop()
        hull.append(number)
    steps = []
    for start, end in pairwise(hull):
        between = tuple(points[start + 1 : end + 1])
        steps.append(_Step(layer, _slope(points[start], points[end]), between))
    return steps


def _bends_up(points: Sequence[Option], first: int, middle: int, last: int) -> bool:
    return _slope(points[first], points[middle]) < _slope(points[middle], points[last])


def _slope(start: Option, end: Option) -> float:
    return (end.loss - start.loss) / (end.saved - start.saved)
