"""N of M: of every M consecutive weights, N stay (Mishra et al. 2021, section 3)."""

import numpy as np
from numpy.typing import NDArray


def n_of_m(scores: NDArray[np.float64], n: int, m: int) -> NDArray[np.bool_]:
    """The weights of a layer that stay: of each M neighbours along its inputs the N best.

    Args:
        scores: (outputs, inputs, ...) score of each weight of a linear layer or convolution.
        n: number of weights of a group that stay.
        m: size of a group; inputs beyond the last whole group stay.

    Returns:
        Truth values in the shape of the scores.

    Example:
        >>> n_of_m(np.array([[1.0, 4.0, 2.0, 3.0]]), 2, 4)
        array([[False,  True, False,  True]])
    """
    inputs_last = np.moveaxis(scores, 1, -1)
    whole = inputs_last.shape[-1] // m * m
    groups = inputs_last[..., :whole].reshape(-1, m)
    worst = np.argsort(groups, axis=1, kind="stable")[:, : m - n]
    kept = np.ones(groups.shape, bool)
    np.put_along_axis(kept, worst, False, axis=1)
    mask = np.ones(inputs_last.shape, bool)
    mask[..., :whole] = kept.reshape(*inputs_last.shape[:-1], whole)
    return np.moveaxis(mask, -1, 1)
