"""Soft targets of standardised logits (Sun et al. 2024, Algorithm 1)."""

from torch import Tensor

from espalier.distillation.losses.averages import wide
from espalier.distillation.losses.soft_targets import soft_targets

_LEAST = 1e-7  # of a deviation, as in the authors' code: logits that are all equal stay finite


def standardised(
    student: Tensor, teacher: Tensor, *, temperature: float = 2.0, weights: Tensor | None = None
) -> Tensor:
    """Soft targets between logits of zero mean and unit deviation: the order counts, and not the range.

    A student too small for its teacher's range of logits need not match it. The deviation is that of the paper
    (over K classes); the authors' code divides by K - 1, which is a temperature sqrt(K / (K - 1)) times as high.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        temperature: Divides both after they were standardised.
        weights: (N,) Of the examples.

    Returns:
        KL(softmax(z(teacher) / T) || softmax(z(student) / T)) T², averaged over the examples.
    """
    return soft_targets(
        z_scores(student), z_scores(teacher), temperature=temperature, weights=weights
    )


def z_scores(logits: Tensor) -> Tensor:
    """Each example's logits (N, classes) with zero mean and unit deviation."""
    logits = wide(logits)
    deviation = logits.std(1, correction=0, keepdim=True)
    return (logits - logits.mean(1, keepdim=True)) / (deviation + _LEAST)
