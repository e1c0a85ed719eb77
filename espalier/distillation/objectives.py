"""Objectives of training: weighted sums of losses against labels and against teachers."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from espalier.distillation.bank import TeacherOutputs
from espalier.distillation.losses import soft_targets
from espalier.distillation.losses.averages import average
from espalier.distillation.modifiers import confidence, focal, subset
from espalier.distillation.settings import Focus, Ramp, at
from espalier.prediction import CLASSIFICATION, Task
from espalier.training.loss_inputs import LossInputs, Objective

Combine = Literal["average", "confidence"]
"""Weights of the losses against several teachers: equal, or by the confidence of each teacher in each example."""


def from_labels(
    smoothing: float = 0.0,
    *,
    class_weights: Tensor | None = None,
    focus: Focus | None = None,
    task: Task = CLASSIFICATION,
) -> Objective:
    """The loss of the task, for classification the cross-entropy with the labels.

    Args:
        smoothing: fraction of the target that is spread over all classes.
        class_weights: weights (classes,) of the examples of each class.
        focus: larger weights for examples that are hard for the student.
        task: task, which defines the loss.
    """

    def objective(inputs: LossInputs) -> Tensor:
        labels = inputs.batch.targets
        if class_weights is None and focus is None:
            return task.loss(inputs.outputs, labels, smoothing=smoothing)
        each = task.loss(inputs.outputs, labels, smoothing=smoothing, reduction="none")
        weights = torch.ones_like(each) if class_weights is None else class_weights[labels]
        if focus is not None:
            weights = weights * focal(inputs.outputs, labels, gamma=focus.gamma)
        return average(each, weights)

    return objective


def from_logits(
    loss: Callable[..., Tensor],
    teachers: Sequence[TeacherOutputs],
    *,
    combine: Combine = "average",
    classes: Sequence[int] | None = None,
    focus: Focus | None = None,
    labelled: bool = False,
    **settings: float | Ramp | Tensor,
) -> Objective:
    """A loss between the logits of the student and of the teachers, on the same view.

    Args:
        loss: function, one of `espalier.distillation.losses.LOGITS`.
        teachers: outputs of the teachers.
        combine: weights of the losses against several teachers.
        classes: indices, in the teachers' outputs, of the classes that are taught; all by default.
        focus: larger weights for hard examples.
        labelled: whether the loss takes the labels too.
        settings: arguments of the loss; a ramp is evaluated at the current progress.
    """

    def objective(inputs: LossInputs) -> Tensor:
        logits, labels = inputs.outputs, inputs.batch.targets
        given = {name: _now(value, inputs) for name, value in settings.items()} | (
            {"labels": labels} if labelled else {}
        )
        views = [bank.view(inputs.view) for bank in teachers]
        answers = [view[inputs.batch.index].to(logits.device, non_blocking=True) for view in views]
        comparable = [_of_students_classes(answer, logits, classes) for answer in answers]
        total = logits.new_zeros(())
        for number, share in enumerate(_shares(comparable, labels, combine)):
            if focus is not None:
                judge = logits if focus.judge == "student" else comparable[number]
                share = share * focal(judge, labels, gamma=focus.gamma)
            student, teacher = (
                (logits, answers[number])
                if classes is None
                else subset(logits, answers[number], classes)
            )
            total = total + loss(student, teacher, weights=share, **given)
        return total

    return objective


def from_teacher(
    bank: TeacherOutputs, *, temperature: float | Ramp, weight: float, smoothing: float = 0.0
) -> Objective:
    """Soft targets times `weight` plus cross-entropy with the labels times `1 - weight` (Hinton et al. 2015)."""
    soft = from_logits(soft_targets, [bank], temperature=temperature)
    return WeightedSum([(weight, soft), (1 - weight, from_labels(smoothing))])


class WeightedSum(nn.Module):
    """A weighted sum of objectives; weights may change during training.

    It is a module, so that the parameters of its objectives are trained. Objectives with weight 0 are
    left out.
    """

    def __init__(self, terms: Sequence[tuple[float | Ramp, Objective]]) -> None:
        super().__init__()
        self._terms = tuple((weight, objective) for weight, objective in terms if weight)
        self.trained = nn.ModuleList([one for _, one in self._terms if isinstance(one, nn.Module)])

    def forward(self, inputs: LossInputs) -> Tensor:
        """The loss of a batch."""
        total = inputs.outputs.new_zeros(())
        for weight, objective in self._terms:
            total = total + at(weight, inputs.progress) * objective(inputs)
        return total


def _now(value: float | Ramp | Tensor, inputs: LossInputs) -> float | Tensor:
    return value.at(inputs.progress) if isinstance(value, Ramp) else value


def _of_students_classes(answer: Tensor, logits: Tensor, classes: Sequence[int] | None) -> Tensor:
    """A teacher's logits for the classes of the student."""
    return answer if classes is None or answer.shape == logits.shape else answer[:, list(classes)]


def _shares(answers: Sequence[Tensor], labels: Tensor, combine: Combine) -> Tensor:
    """(teachers, N) the weight of the loss against each teacher in each example."""
    if combine == "confidence":
        return confidence(torch.stack(list(answers)), labels)
    return answers[0].new_full((len(answers), len(labels)), 1 / len(answers))
