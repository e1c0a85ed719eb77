"""The lowest scores go, until a fraction is gone."""

import numpy as np
from numpy.typing import NDArray


def lowest(
    scores: NDArray[np.float64], layer: NDArray[np.int64], fraction: float
) -> NDArray[np.bool_]:
    """The elements that stay when a fraction of all goes, to the nearest whole number.

    Args:
        scores: (count,) the lowest go first, and of equal ones the first.
        layer: (count,) layer of each element; the best of every layer stays, since an empty layer
            would split the network.
        fraction: fraction in [0, 1].

    Returns:
        (count,)

    Example:
        Scores (1, 2, 3, 4) of one layer, half of them removed: (False, False, True, True).
    """
    ascending = np.argsort(scores, kind="stable")
    best = _last_of_layers(ascending, layer)
    removable = ascending[~best[ascending]]
    kept = np.ones(len(scores), bool)
    kept[removable[: round(fraction * len(scores))]] = False
    return kept


def best_of_layers(scores: NDArray[np.float64], layer: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(count,) whether an element has the highest score of its layer; of equal ones the last."""
    return _last_of_layers(np.argsort(scores, kind="stable"), layer)


def _last_of_layers(ascending: NDArray[np.int64], layer: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(count,) whether an element is the last of its layer in an order."""
    descending = ascending[::-1]
    first = np.unique(layer[descending], return_index=True)[1]
    best = np.zeros(len(layer), bool)
    best[descending[first]] = True
    return best
