"""How much is removed where: the units that cost the most work for the least score go first, over all layers."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.units import Units


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


def choose(
    units: Units, scores: NDArray[np.float64], cost: Cost, *, most_macs: float, align: int
) -> NDArray[np.bool_]:
    """Choose which units to keep, so that the network costs at most `most_macs`.

    Layers lose their lowest-scored units in blocks, so that what is left is a multiple of `align` where the layer's
    width is one. The block with the lowest score per multiply-accumulate saved goes first (a greedy knapsack); each
    layer keeps one block.

    Returns:
        (count,) whether each unit is kept. If no choice reaches the target, the nearest one.
    """
    kept = np.ones(units.count, bool)
    queues = {layer: _blocks(units, scores, layer, align) for layer in np.unique(units.layer)}
    now = cost.macs(kept)
    while now > most_macs:
        candidates = []
        for layer, queue in queues.items():
            if queue:
                trial = kept.copy()
                trial[queue[0]] = False
                after = cost.macs(trial)
                if after < now:
                    candidates.append((float(scores[queue[0]].sum()) / (now - after), int(layer), after, trial))
        if not candidates:
            break
        enough = [one for one in candidates if one[2] <= most_macs]
        # among single blocks that reach the target the one that overshoots least: work is not removed for nothing
        _, layer, now, kept = max(enough, key=lambda one: one[2]) if enough else min(candidates, key=lambda one: one[0])
        queues[layer].pop(0)
    return kept


def _blocks(units: Units, scores: NDArray[np.float64], layer: int, align: int) -> list[NDArray[np.int64]]:
    """The units of a layer, lowest score first, in the portions in which they may go; the last portion stays."""
    members = np.flatnonzero(units.layer == layer)
    ordered = members[np.argsort(scores[members], kind="stable")]
    size = align if len(ordered) > align else 1
    ragged = len(ordered) % size
    portions = [ordered[:ragged]] if ragged else []
    portions += [ordered[start : start + size] for start in range(ragged, len(ordered), size)]
    return portions[:-1]
