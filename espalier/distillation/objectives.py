"""Objectives of training: weighted sums of losses against labels and against teachers."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from espalier.distillation.bank import Bank
from espalier.distillation.losses import soft_targets
from espalier.distillation.losses.averages import average
from espalier.distillation.modifiers import confidence, focal, subset
from espalier.distillation.settings import Focus, Ramp, at
from espalier.prediction import CLASSIFICATION, Task
from espalier.training.engine import LossInputs, Objective

Combine = Literal["average", "confidence"]
"""How the losses against several teachers are added up: all alike, or by how right each is in each example."""


def from_labels(
    smoothing: float = 0.0,
    *,
    class_weights: Tensor | None = None,
    focus: Focus | None = None,
    task: Task = CLASSIFICATION,
) -> Objective:
    """The loss of the task, for classification the cross-entropy with the labels.

    Args:
        smoothing: The part of the target that is spread over all classes.
        class_weights: (classes,) Of the examples of each class.
        focus: More weight for hard examples; the student judges.
        task: what is asked of an example.
    """

    def objective(seen: LossInputs) -> Tensor:
        labels = seen.batch.targets
        if class_weights is None and focus is None:
            return task.loss(seen.outputs, labels, smoothing=smoothing)
        each = task.loss(seen.outputs, labels, smoothing=smoothing, reduction="none")
        weights = torch.ones_like(each) if class_weights is None else class_weights[labels]
        return average(
            each,
            weights if focus is None else weights * focal(seen.outputs, labels, gamma=focus.gamma),
        )

    return objective


def from_logits(
    loss: Callable[..., Tensor],
    teachers: Sequence[Bank],
    *,
    combine: Combine = "average",
    classes: Sequence[int] | None = None,
    focus: Focus | None = None,
    labelled: bool = False,
    **settings: float | Ramp | Tensor,
) -> Objective:
    """A loss between the student's logits and those of the teachers, each as of the very view that the student sees.

    Args:
        loss: One of `espalier.distillation.losses.LOGITS`.
        teachers: Their answers.
        combine: How the losses against several teachers are added up.
        classes: The teachers' numbers of the classes that are taught; all by default.
        focus: More weight for hard examples.
        labelled: Whether the loss takes the labels too.
        settings: The loss's own keys; ramps have the value of the moment.
    """

    def objective(seen: LossInputs) -> Tensor:
        logits, labels = seen.outputs, seen.batch.targets
        given = {name: _now(value, seen) for name, value in settings.items()} | (
            {"labels": labels} if labelled else {}
        )
        answers = [bank.view(seen.view)[seen.batch.index].to(logits.device) for bank in teachers]
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
    bank: Bank, *, temperature: float | Ramp, weight: float, smoothing: float = 0.0
) -> Objective:
    """Soft targets times `weight` and cross-entropy with the labels times the rest (Hinton et al. 2015)."""
    soft = from_logits(soft_targets, [bank], temperature=temperature)
    return WeightedSum([(weight, soft), (1 - weight, from_labels(smoothing))])


class WeightedSum(nn.Module):
    """A recipe: objectives, each times its weight, which may change while training goes on.

    A module, so that what objectives train along is found; what has no weight at any time is not
    asked.
    """

    def __init__(self, terms: Sequence[tuple[float | Ramp, Objective]]) -> None:
        super().__init__()
        self._terms = tuple((weight, objective) for weight, objective in terms if weight)
        self.trained = nn.ModuleList([one for _, one in self._terms if isinstance(one, nn.Module)])

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch."""
        total = seen.outputs.new_zeros(())
        for weight, objective in self._terms:
            total = total + at(weight, seen.progress) * objective(seen)
        return total


def _now(value: float | Ramp | Tensor, seen: LossInputs) -> float | Tensor:
    return value.at(seen.progress) if isinstance(value, Ramp) else value


def _of_students_classes(answer: Tensor, logits: Tensor, classes: Sequence[int] | None) -> Tensor:
    """A teacher's logits, one for each of the student's."""
    return answer if classes is None or answer.shape == logits.shape else answer[:, list(classes)]


def _shares(answers: Sequence[Tensor], labels: Tensor, combine: Combine) -> Tensor:
    """(teachers, N): how much of the loss against each teacher counts in each example."""
    if combine == "confidence":
        return confidence(torch.stack(list(answers)), labels)
    return answers[0].new_full((len(answers), len(labels)), 1 / len(answers))
