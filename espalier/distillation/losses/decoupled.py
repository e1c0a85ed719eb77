"""Decoupled distillation, DKD (Zhao et al. 2022, section 3)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import average, wide


def decoupled(
    student: Tensor,
    teacher: Tensor,
    *,
    labels: Tensor,
    alpha: float = 1.0,
    beta: float = 8.0,
    temperature: float = 4.0,
    weights: Tensor | None = None,
) -> Tensor:
    """Soft targets in two parts with weights of their own: the label against the rest, and the rest among itself.

    In plain soft targets the second part is weighted by what the teacher does not give to the label: a confident
    teacher says little of what it knows of the other classes.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        labels: (N,) The right class of each.
        alpha: Weight of the label against the rest.
        beta: Weight of the rest among itself.
        temperature: Divides both.
        weights: (N,) Of the examples.

    Returns:
        (alpha TCKD + beta NCKD) T², averaged over the examples.
    """
    ours, theirs = wide(student) / temperature, wide(teacher) / temperature
    target = _divergence(_binary(ours, labels), _binary(theirs, labels))
    others = _divergence(
        F.log_softmax(_others(ours, labels), 1), F.log_softmax(_others(theirs, labels), 1)
    )
    return average(alpha * target + beta * others, weights) * temperature**2


def _binary(logits: Tensor, labels: Tensor) -> Tensor:
    """Logarithms (N, 2) of the probabilities of the label and of all the rest."""
    label = logits.gather(1, labels[:, None])
    return F.log_softmax(
        torch.cat([label, _others(logits, labels).logsumexp(1, keepdim=True)], 1), 1
    )


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits (N, classes - 1) of all classes but the label."""
    rest = torch.ones_like(logits, dtype=torch.bool).scatter_(1, labels[:, None], False)
    return logits[rest].view(len(logits), -1)


def _divergence(ours: Tensor, theirs: Tensor) -> Tensor:
    return F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
