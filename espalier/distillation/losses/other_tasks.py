"""Losses against teachers of tasks other than classification."""

from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import average, wide


def bernoulli_soft_targets(
    student: Tensor, teacher: Tensor, *, temperature: float = 4.0, weights: Tensor | None = None
) -> Tensor:
    """Soft targets of independent labels: each label is a distribution over yes and no.

    Source: the soft targets of Hinton et al. (2015), for Bernoulli instead of categorical outputs.

    Args:
        student: logits (N, labels).
        teacher: logits (N, labels).
        temperature: temperature of both distributions.
        weights: weights (N,) of the examples.

    Returns:
        KL(sigmoid(teacher / T) || sigmoid(student / T)) T², averaged over labels and examples; 0
        where both are equal.
    """
    ours, theirs = wide(student) / temperature, wide(teacher) / temperature
    likely = theirs.sigmoid()
    yes = likely * (F.logsigmoid(theirs) - F.logsigmoid(ours))
    no = (1 - likely) * (F.logsigmoid(-theirs) - F.logsigmoid(-ours))
    return average((yes + no).mean(1), weights) * temperature**2


def soft_values(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """The squared difference of standardised values: what soft targets are for a regression.

    Args:
        student: values (N, 1).
        teacher: values (N, 1).
        temperature: not used: a value has no distribution to soften.
        weights: weights (N,) of the examples.
    """
    del temperature
    return average((wide(student) - wide(teacher)).square().mean(1), weights)
