"""The lowest scores go, until a fraction is gone."""

import numpy as np
from numpy.typing import NDArray


def lowest(
    scores: NDArray[np.float64], layer: NDArray[np.int64], fraction: float
) -> NDArray[np.bool_]:
    """Which of the rivals stay when a fraction of them goes, to the nearest whole number.

    Args:
        scores: (count,) of which the lowest go first, and of equal ones the first.
        layer: (count,) the layer of each: the best of every layer stays, or the network would be cut in two.
        fraction: In [0, 1].

    Returns:
        (count,)
    """
    order = np.argsort(scores, kind="stable")
    best = np.zeros(len(scores), bool)
    sorted_layers = layer[order][::-1]
    best[order[::-1][np.unique(sorted_layers, return_index=True)[1]]] = True
    may = order[~best[order]]
    kept = np.ones(len(scores), bool)
    kept[may[: round(fraction * len(scores))]] = False
    return kept
