"""Thresholds of importance: absolute ones, and fractions of the mean of a layer."""

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.target import Target

Scores = NDArray[np.float64]


def thresholds(target: Target, scores: Scores, layer: NDArray[np.int64]) -> Scores:
    """The score below which each group or element is removed.

    Args:
        target: `below`, an absolute score; or `below_mean`, a factor of the mean score of the
            layer, so that layers of other scales lose no more than others.
        scores: scores (count,); those of former zeros are not finite, and in no mean.
        layer: number (count,) of the layer of each.

    Returns:
        Thresholds (count,).

    Example:
        Scores 1, 3 of layer 0 and 10, 30 of layer 1, `below_mean` of 1: 2, 2, 20, 20.
    """
    if target.name == "below":
        return np.full(len(scores), target.value)
    known = np.isfinite(scores)
    count = 1 + int(layer.max(initial=0))
    sums = np.bincount(layer[known], scores[known], minlength=count)
    sizes = np.bincount(layer[known], minlength=count)
    means = sums / np.maximum(sizes, 1)
    limits: Scores = target.value * means[layer]
    return limits
