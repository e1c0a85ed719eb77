"""Soft targets (Hinton, Vinyals and Dean 2015, section 2), balanced over classes where asked (Zhang et al. 2023)."""

from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import average, wide


def soft_targets(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 4.0,
    class_weights: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """The divergence from the teacher's softened distribution to the student's, times the temperature squared.

    The factor keeps the size of the gradient, which falls with the square of the temperature.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        temperature: Divides both.
        class_weights: (classes,) What the teacher's softened distribution is multiplied by before it is normalised
            again: rare classes get more of it (Zhang et al. 2023, Balanced Knowledge Distillation).
        weights: (N,) Of the examples.

    Returns:
        KL(softmax(teacher / T) || softmax(student / T)) T², averaged over the examples.
    """
    ours = F.log_softmax(wide(student) / temperature, 1)
    softened = wide(teacher) / temperature
    if class_weights is not None:
        softened = softened + class_weights.log()
    theirs = F.log_softmax(softened, 1)
    each = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(1)
    return average(each, weights) * temperature**2
