"""How much is removed where: the units that cost the most work for the least score go first, over all layers."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.units import Units

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
    kept = np.ones(units.count, bool)
    queues = {int(layer): _blocks(units, scores, int(layer), align) for layer in np.unique(units.layer)}
    gone: dict[int, list[NDArray[np.int64]]] = {layer: [] for layer in queues}
    now = cost.macs(kept)
    while now > most_macs:
        steps = [
            (scores[queue[0]].sum() / max(now - after, 1), layer, after)
            for layer, queue in queues.items()
            if queue and (after := cost.macs(_with(kept, queue[0], False))) < now
        ]
        if not steps:
            break
        last = [step for step in steps if step[2] <= most_macs]  # of steps that arrive, the one nearest to the target
        _, layer, now = max(last, key=lambda step: step[2]) if last else min(steps)
        gone[layer].append(queues[layer].pop(0))
        kept[gone[layer][-1]] = False
    while True:
        returns = [
            (after, layer)
            for layer, blocks in gone.items()
            if blocks and (after := cost.macs(_with(kept, blocks[-1], True))) <= most_macs
        ]
        if not returns:
            return kept
        _, layer = max(returns)
        kept[gone[layer].pop()] = True


def _with(kept: NDArray[np.bool_], block: NDArray[np.int64], value: bool) -> NDArray[np.bool_]:
    trial = kept.copy()
    trial[block] = value
    return trial


def _blocks(units: Units, scores: NDArray[np.float64], layer: int, align: int) -> list[NDArray[np.int64]]:
    """The units of a layer that may go, lowest score first, in the portions in which they go."""
    members = np.flatnonzero(units.layer == layer)
    ordered = members[np.argsort(scores[members], kind="stable")]
    ragged = len(ordered) % align
    starts = [*([0] if ragged else []), *range(ragged, len(ordered), align)]
    stay = max(align, math.ceil(_LEAST * len(ordered)))
    portions = zip(starts, [*starts[1:], len(ordered)], strict=True)
    return [ordered[start:end] for start, end in portions if len(ordered) - end >= stay]
