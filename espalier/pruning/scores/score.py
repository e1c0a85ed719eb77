"""The types of scores, and the normalisation that they share."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.pruning.groups import Groups

Losses = Callable[[nn.Module], Iterator[Tensor]]
"""Yields the loss of a network on each batch of training examples."""

Function = Callable[[nn.Module, Groups, Losses | None], NDArray[np.float64]]
"""Maps a network in evaluation mode to the importance of each group (count,), larger for more."""


def normalize_by_layer(scores: NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    """Scores (count,) divided by the mean of their layer.

    Without the division, layers with small weights would be emptied first.

    Example:
        Scores (1, 3) in one layer and (10, 30) in another: (0.5, 1.5) in both.
    """
    layers = int(groups.layer.max(initial=-1)) + 1
    totals = np.bincount(groups.layer, scores, layers)
    counts = np.bincount(groups.layer, minlength=layers)
    mean = totals / np.maximum(counts, 1)
    normalized: NDArray[np.float64] = scores / np.maximum(mean, np.finfo(float).tiny)[groups.layer]
    return normalized
