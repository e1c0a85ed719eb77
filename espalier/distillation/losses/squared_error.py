"""Logits by their squared difference (Ba and Caruana 2014, eq. 1)."""

from torch import Tensor

from espalier.distillation.losses.averages import average, wide


def squared_error(student: Tensor, teacher: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """Half of the squared distance between the student's and the teacher's logits.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        weights: (N,) Of the examples.

    Returns:
        ||student - teacher||² / 2, averaged over the examples.
    """
    return average((wide(student) - wide(teacher)).square().sum(1) / 2, weights)
