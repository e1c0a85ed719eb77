"""Distillation from a stronger teacher by relations of its predictions, DIST (Huang et al. 2022)."""

import torch
from torch import Tensor

from espalier.distillation.losses.averages import average, wide

_LEAST = 1e-8  # of a product of norms, as in the authors' code: a constant row stays finite


def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 1.0,
    beta: float = 1.0,
    gamma: float = 1.0,
    weights: Tensor | None = None,
) -> Tensor:
    """One minus the correlation of predictions, over the classes of an example and over the examples of a class.

    A student need not have the probabilities of a teacher that is much stronger, only their relations.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        temperature: Divides both before the softmax.
        beta: Weight of the relations between the classes.
        gamma: Weight of the relations within a class, over the batch.
        weights: (N,) Of the examples, in both averages and in the correlation over the batch.

    Returns:
        (beta L_inter + gamma L_intra) T².
    """
    ours, theirs = (torch.softmax(wide(logits) / temperature, 1) for logits in (student, teacher))
    inter = average(1 - correlation(ours, theirs), weights)
    within = (1 - correlation(ours.T, theirs.T, weights)).mean()
    scale = 1 if weights is None else weights.mean()
    return (beta * inter + gamma * scale * within) * temperature**2


def correlation(one: Tensor, other: Tensor, weights: Tensor | None = None) -> Tensor:
    """Pearson's correlation of each row (R, K) of one with the same row of the other, its columns weighted (K,)."""
    shares = (
        torch.full_like(one[0], 1 / one.shape[1])
        if weights is None
        else weights / weights.sum().clamp_min(_LEAST)
    )
    one, other = (
        (values - (values * shares).sum(1, keepdim=True)) * (shares * one.shape[1]).sqrt()
        for values in (one, other)
    )
    found: Tensor = (one * other).sum(1) / (one.norm(dim=1) * other.norm(dim=1) + _LEAST)
    return found
