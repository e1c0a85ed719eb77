"""Soft targets (Hinton, Vinyals and Dean 2015, section 2)."""

from torch import Tensor
from torch.nn import functional as F


def soft_targets(student: Tensor, teacher: Tensor, *, temperature: float = 4.0) -> Tensor:
    """The divergence from the teacher's softened distribution to the student's, times the temperature squared.

    The factor keeps the size of the gradient, which falls with the square of the temperature.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        temperature: Divides both.

    Returns:
        KL(softmax(teacher / T) || softmax(student / T)) T², averaged over the examples.
    """
    ours = F.log_softmax(student / temperature, 1)
    theirs = F.log_softmax(teacher / temperature, 1)
    return F.kl_div(ours, theirs, reduction="batchmean", log_target=True) * temperature**2
