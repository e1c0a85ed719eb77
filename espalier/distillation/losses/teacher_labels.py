"""The teacher's decisions as labels (Touvron et al. 2021, DeiT, eq. 3)."""

from torch import Tensor
from torch.nn import functional as F

from espalier.distillation.losses.averages import average, wide


def teacher_labels(
    student: Tensor,
    teacher: Tensor,
    *,
    class_weights: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Cross-entropy with the class that the teacher finds likeliest.

    Args:
        student: Logits (N, classes).
        teacher: Logits (N, classes).
        class_weights: (classes,) Of the examples of each class.
        weights: (N,) Of the examples.

    Returns:
        CE(softmax(student), argmax(teacher)), averaged over the examples.
    """
    each = F.cross_entropy(wide(student), teacher.argmax(1), weight=class_weights, reduction="none")
    return average(each, weights)
