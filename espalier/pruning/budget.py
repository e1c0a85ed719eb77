"""How much is removed where: the units that cost the most work for the least score go first, over all layers."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

from espalier.pruning.units import Units

_NEAR = 0.98  # of the target: what comes nearer is not worth a better-scored channel
_LEAST = 0.25  # of its units a layer keeps in one cut: a layer that is nearly gone cuts the network in two


class Cost:
    """The multiply-accumulates of a network with some of its units removed."""

    def __init__(self, units: Units, shapes: Mapping[str, tuple[int, ...]]) -> None:
        found = [(work.places, shapes[work.weight], units.where[work.weight]) for work in units.works]
        self._each = np.array([places * math.prod(shape[2:]) for places, shape, _ in found], np.int64)
        self._sizes = np.array([size for _, shape, _ in found for size in shape[:2]], np.int64)
        indices = [dims.get(dim, np.empty(0, np.int64)) for _, _, dims in found for dim in (0, 1)]
        unit = np.concatenate([np.empty(0, np.int64), *indices])
        size = np.repeat(np.arange(len(indices)), [len(one) for one in indices])
        free = unit >= 0
        shape = (len(indices), units.count)
        # how many of each weight's rows and columns go with each unit: the work is asked for thousands of times
        self._gone = coo_array((np.ones(int(free.sum()), np.int64), (size[free], unit[free])), shape=shape).tocsr()

    def macs(self, kept: NDArray[np.bool_]) -> int:
        """Per image, when only the units in `kept` (count,) are left."""
        left = self._sizes - self._gone @ (~kept).astype(np.int64)
        return int(self._each @ (left[::2] * left[1::2]))


def choose(units: Units, scores: NDArray[np.float64], cost: Cost, *, most_macs: float, align: int) -> NDArray[np.bool_]:
    """Choose which units to keep, so that the network costs at most `most_macs`.

    Layers lose their lowest-scored units in blocks, so that what is left is a multiple of `align` where the layer's
    width is one. The block with the lowest score per multiply-accumulate saved goes first (a greedy knapsack). Each
    layer keeps a quarter of its units and one block. If that saved over 2 % too much, a block comes back, for others.

    Returns:
        (count,) whether each unit is kept. If no choice reaches the target, the nearest one.
    """
    portions = {int(layer): _blocks(units, scores, int(layer), align) for layer in np.unique(units.layer)}
    cut = _Cut(cost, scores, np.ones(units.count, bool), portions, {layer: [] for layer in portions})
    arrived = _remove(cut, most_macs)
    while arrived and cut.macs() < _NEAR * most_macs:
        nearer = max(_exchanges(cut, most_macs), key=_Cut.macs, default=cut)
        if nearer.macs() <= cut.macs():
            break
        cut = nearer
    return cut.kept


def _remove(cut: "_Cut", most_macs: float, but: int | None = None) -> bool:
    """Let blocks go, of all layers but one, until the target is reached; whether it was."""
    while (now := cut.macs()) > most_macs:
        steps = [
            (cut.scores[blocks[0]].sum() / (now - after), layer, after)
            for layer, blocks in cut.there.items()
            if blocks and layer != but and (after := cut.macs(without=layer)) < now
        ]
        if not steps:
            return False
        last = [step for step in steps if step[2] <= most_macs]  # of steps that arrive, the one nearest to the target
        cut.remove(max(last, key=lambda step: step[2])[1] if last else min(steps)[1])
    return True


def _exchanges(cut: "_Cut", most_macs: float) -> Iterator["_Cut"]:
    """Choices in which the last block of one layer comes back, and others go for it if need be."""
    for layer, blocks in cut.gone.items():
        if blocks:
            other = cut.copy()
            other.restore(layer)
            if _remove(other, most_macs, but=layer):
                yield other


@dataclass
class _Cut:
    """A choice in the making: the blocks of each layer that are still there and those that are gone, in order."""

    cost: Cost
    scores: NDArray[np.float64]
    kept: NDArray[np.bool_]
    there: dict[int, list[NDArray[np.int64]]]
    gone: dict[int, list[NDArray[np.int64]]]

    def copy(self) -> "_Cut":
        """Another choice with the same past."""
        there, gone = ({layer: list(blocks) for layer, blocks in part.items()} for part in (self.there, self.gone))
        return _Cut(self.cost, self.scores, self.kept.copy(), there, gone)

    def macs(self, without: int | None = None) -> int:
        """The work that is left, if the next block of a layer went as well."""
        if without is None:
            return self.cost.macs(self.kept)
        kept = self.kept.copy()
        kept[self.there[without][0]] = False
        return self.cost.macs(kept)

    def remove(self, layer: int) -> None:
        """Let the next block of a layer go."""
        self.gone[layer].append(self.there[layer].pop(0))
        self.kept[self.gone[layer][-1]] = False

    def restore(self, layer: int) -> None:
        """Bring the last block of a layer back."""
        self.there[layer].insert(0, self.gone[layer].pop())
        self.kept[self.there[layer][0]] = True


def _blocks(units: Units, scores: NDArray[np.float64], layer: int, align: int) -> list[NDArray[np.int64]]:
    """The units of a layer that may go, lowest score first, in the portions in which they go."""
    members = np.flatnonzero(units.layer == layer)
    ordered = members[np.argsort(scores[members], kind="stable")]
    ragged = len(ordered) % align
    starts = [*([0] if ragged else []), *range(ragged, len(ordered), align)]
    stay = max(align, math.ceil(_LEAST * len(ordered)))
    portions = zip(starts, [*starts[1:], len(ordered)], strict=True)
    return [ordered[start:end] for start, end in portions if len(ordered) - end >= stay]
