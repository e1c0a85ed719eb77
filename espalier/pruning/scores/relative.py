"""Scores of one layer relative to each other."""

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.groups import Groups


def relative(scores: NDArray[np.float64], groups: Groups) -> NDArray[np.float64]:
    """Scores (count,) over the mean of their layer.

    Without the division, layers whose weights are small by their nature would be emptied first.
    """
    layers = int(groups.layer.max(initial=-1)) + 1
    mean = np.bincount(groups.layer, scores, layers) / np.maximum(
        np.bincount(groups.layer, minlength=layers), 1
    )
    whole: NDArray[np.float64] = scores / np.maximum(mean, np.finfo(float).tiny)[groups.layer]
    return whole
