"""The reverse divergence: of the teacher's distribution from the student's (Gu et al. 2024, MiniLLM, section 2.1)."""

from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import average, wide


def reverse(
    student: Tensor, teacher: Tensor, *, temperature: float = 1.0, weights: Tensor | None = None
) -> Tensor:
    """The divergence from the student's softened distribution to the teacher's, times the temperature squared.

    It is large where the student finds likely what the teacher does not, and forgives what the student leaves
    out: a student too small for all of the teacher's answers keeps to the most likely ones.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        temperature: Divides both.
        weights: (N,) Of the examples.

    Returns:
        KL(softmax(student / T) || softmax(teacher / T)) T², averaged over the examples.
    """
    ours = F.log_softmax(wide(student) / temperature, 1)
    theirs = F.log_softmax(wide(teacher) / temperature, 1)
    each = F.kl_div(theirs, ours, reduction="none", log_target=True).sum(1)
    return average(each, weights) * temperature**2
