"""How much is removed where: the units that cost the most work for the least score go first, over all layers."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.units import Units

_NEAR = 0.98  # of the target: what comes nearer is not worth a better-scored channel
_LEAST = 0.25  # of its units a layer keeps in one cut: a layer that is nearly gone cuts the network in two


class Cost:
    """The multiply-accumulates of a network with some of its units removed."""

    def __init__(self, units: Units, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._units, self._shapes = units, shapes

    def macs(self, kept: NDArray[np.bool_]) -> int:
        """Per image, when only the units in `kept` (count,) are left."""
        total = 0
        for work in self._units.works:
            shape = self._shapes[work.weight]
            sizes = [self._left(work.weight, dim, size, kept) for dim, size in enumerate(shape[:2])]
            total += work.places * sizes[0] * sizes[1] * int(np.prod(shape[2:]))
        return total

    def _left(self, name: str, dim: int, size: int, kept: NDArray[np.bool_]) -> int:
        unit = self._units.where[name].get(dim)
        return size if unit is None else int(np.sum((unit < 0) | kept[unit]))


def choose(units: Units, scores: NDArray[np.float64], cost: Cost, *, most_macs: float, align: int) -> NDArray[np.bool_]:
    """Choose which units to keep, so that the network costs at most `most_macs`.

    Layers lose their lowest-scored units in blocks, so that what is left is a multiple of `align` where the layer's
    width is one. The block with the lowest score per multiply-accumulate saved goes first (a greedy knapsack). Each
    layer keeps a quarter of its units and one block. What the last block saved too much buys back others.

    Returns:
        (count,) whether each unit is kept. If no choice reaches the target, the nearest one.
    """
    portions = {int(layer): _blocks(units, scores, int(layer), align) for layer in np.unique(units.layer)}
    cut = _Cut(cost, np.ones(units.count, bool), portions, {layer: [] for layer in portions})
    while cut.macs() > most_macs:
        now = cut.macs()
        steps = [
            (scores[blocks[0]].sum() / (now - after), layer, after)
            for layer, blocks in cut.there.items()
            if blocks and (after := cut.macs(goes=layer)) < now
        ]
        if not steps:
            return cut.kept
        last = [step for step in steps if step[2] <= most_macs]  # of steps that arrive, the one nearest to the target
        cut.remove(max(last, key=lambda step: step[2])[1] if last else min(steps)[1])
    _spend(cut, most_macs)
    return cut.kept


def _spend(cut: "_Cut", most_macs: float) -> None:
    """Return blocks while the target allows; while it is missed by more than 2 %, also one in exchange for another."""
    while True:
        now = cut.macs()
        going: list[int | None] = [None]
        if now < _NEAR * most_macs:
            going += [layer for layer, blocks in cut.there.items() if blocks]
        options = [
            (after, back, goes)
            for back, blocks in cut.gone.items()
            for goes in going
            if blocks and goes != back and now < (after := cut.macs(goes=goes, back=back)) <= most_macs
        ]
        if not options:
            return
        _, back, goes = max(options, key=lambda option: option[0])
        cut.restore(back)
        if goes is not None:
            cut.remove(goes)


@dataclass
class _Cut:
    """A choice in the making: the blocks of each layer that are still there and those that are gone, in order."""

    cost: Cost
    kept: NDArray[np.bool_]
    there: dict[int, list[NDArray[np.int64]]]
    gone: dict[int, list[NDArray[np.int64]]]

    def macs(self, goes: int | None = None, back: int | None = None) -> int:
        """The work that is left, if the next block of one layer went and the last of another came back."""
        kept = self.kept.copy()
        if goes is not None:
            kept[self.there[goes][0]] = False
        if back is not None:
            kept[self.gone[back][-1]] = True
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
