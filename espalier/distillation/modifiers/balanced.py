"""Weights of classes for data in which some are rare."""

from torch import Tensor


def balanced(counts: Tensor) -> Tensor:
    """Weights (classes,) float32 with which every class counts the same, and an example of the data 1 on average.

    Args:
        counts: number of examples of each class (classes,).

    Returns:
        N / (classes n_c), as King and Zeng 2001; a class without examples is taken to have one.
    """
    known = counts.float().clamp_min(1)
    weights: Tensor = counts.sum() / (len(counts) * known)
    return weights
