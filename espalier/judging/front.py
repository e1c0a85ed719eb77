"""The Pareto front."""

import numpy as np


def front(figures: np.ndarray) -> np.ndarray:
    """Whether each model is on the Pareto front.

    A model is on it if no other is at least as good in every figure and better in one.

    Args:
        figures: a row for each model (N, figures); smaller is better in every column.

    Returns:
        A bool for each model (N,). A model with a NaN is not on the front and excludes no other.
    """
    known = ~np.isnan(figures).any(1)
    # [other, model]; comparisons with a NaN are false
    no_worse = (figures[:, None] <= figures[None]).all(2)
    better = (figures[:, None] < figures[None]).any(2)
    dominated: np.ndarray = (no_worse & better & known[:, None]).any(0)
    return np.asarray(known & ~dominated)
