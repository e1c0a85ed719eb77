"""N of M: of every M weights in a row, N stay (Mishra et al. 2021, section 3)."""

import numpy as np
from numpy.typing import NDArray


def n_of_m(scores: NDArray[np.float64], n: int, m: int) -> NDArray[np.bool_]:
    """Which weights of a layer stay: of each M neighbours along its inputs the N with the highest scores.

    Args:
        scores: (outputs, inputs, ...) of each weight of a linear layer or convolution.
        n: How many of a group stay.
        m: The size of a group. Inputs beyond the last whole group stay.

    Returns:
        The shape of the scores.
    """
    along = np.moveaxis(scores, 1, -1)
    whole = along.shape[-1] // m * m
    groups = along[..., :whole].reshape(-1, m)
    kept = np.ones(groups.shape, bool)
    np.put_along_axis(kept, np.argsort(groups, axis=1, kind="stable")[:, : m - n], False, axis=1)
    mask = np.ones(along.shape, bool)
    mask[..., :whole] = kept.reshape(*along.shape[:-1], whole)
    return np.moveaxis(mask, -1, 1)
