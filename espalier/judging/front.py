"""The front: what no other model beats."""

import numpy as np


def front(figures: np.ndarray) -> np.ndarray:
    """Which models no other beats: none is at least as good in every figure and better in one.

    Args:
        figures: A row per model (N, figures); smaller is better in every column.

    Returns:
        A bool per model (N,). A model with a figure that is not a number is never on the front, and beats none.
    """
    known = ~np.isnan(figures).any(1)
    no_worse = (figures[:, None] <= figures[None]).all(
        2
    )  # [other, model]; of a NaN nothing is true
    better = (figures[:, None] < figures[None]).any(2)
    beaten: np.ndarray = (no_worse & better & known[:, None]).any(0)
    return np.asarray(known & ~beaten)
