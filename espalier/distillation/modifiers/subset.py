"""A part of the teacher's classes: a small vocabulary taught by a large one."""

from collections.abc import Sequence

from torch import Tensor

from espalier.errors import BadInput


def subset(student: Tensor, teacher: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The logits of some classes; a softmax over them is the teacher's distribution, renormalised.

    Args:
        student: Logits (N, classes) of the teacher's classes, or of the chosen ones alone, in their
            order.
        teacher: Logits (N, classes).
        classes: The teacher's numbers of the classes that are taught.

    Returns:
        Logits (N, len(classes)) of both.

    Raises:
        BadInput: If the teacher has not all of these classes, or the student neither all of the
            teacher's nor these.
    """
    most, chosen = teacher.shape[1], list(classes)
    if not chosen or not all(0 <= number < most for number in chosen):
        raise BadInput(
            f"Expected `classes` to be numbers below the {most} of the teacher; found {chosen}."
        )
    if student.shape[1] not in (len(chosen), most):
        raise BadInput(
            f"Expected a student to have the {len(chosen)} classes that it is taught, or the "
            f"{most} of its teacher; "
            f"found {student.shape[1]}."
        )
    return student[:, chosen] if student.shape[1] == most else student, teacher[:, chosen]
