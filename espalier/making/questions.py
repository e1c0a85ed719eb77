"""The questions of a job: the task of its data, or of each head by itself, and the losses that they have."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espalier.distillation.losses import OUTPUTS
from espalier.distillation.modifiers import balanced
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.own_functions import own_function
from espalier.params import BaseEntry
from espalier.params.losses import AnyLogitLoss, ClassWeights, OwnLoss
from espalier.prediction import CLASSIFICATION, Head, Heads, Task


@dataclass(frozen=True)
class Question:
    """A task of a job.

    Attributes:
        job: the job.
        task: the task.
        classes: names of its classes.
        head: head that it belongs to; None where the data have a single task.
    """

    job: Job[Any]
    task: Task
    classes: tuple[str, ...]
    head: Head | None = None

    @property
    def targets(self) -> Tensor:
        """The targets (N, ...) of the train split, on the processor."""
        targets = self.job.data.train.targets.cpu()
        return targets if self.head is None else self.head.targets_of(targets)

    @property
    def described(self) -> str:
        """The task in messages."""
        if isinstance(self.task, Heads):
            return f"several heads: `head` names one of {_listed(self.task)}"
        head = f", the head {self.head.name}" if self.head else ""
        return f"a {self.task.name}{head}"

    def refuse_without_classes(self, key: str) -> None:
        """Refuse a key that has a meaning for classifications alone.

        Raises:
            BadInput: if the task is another one.
        """
        if self.task.name != CLASSIFICATION.name:
            raise BadInput(
                f"Expected {key} of {self.job.name} with a classification, whose examples have one "
                f"class; found {self.described}."
            )


def question_of(job: Job[Any]) -> Question:
    """The task of the data of a job."""
    return Question(job, job.data.task, job.data.dataset.classes)


def questions_of(job: Job[Any], head: str | None) -> list[Question]:
    """The tasks that a loss of a job is taken of: all of them, or that of a named head.

    Args:
        job: the job.
        head: name of the head; None for all of them.

    Raises:
        BadInput: if there is no such head.
    """
    task = job.data.task
    if not isinstance(task, Heads):
        if head is not None:
            raise BadInput(
                f"Expected `head` of {job.name} with data of several heads, under `data.heads`; "
                f"found a {task.name}."
            )
        return [question_of(job)]
    chosen = [one for one in task.heads if head in (None, one.name)]
    if not chosen:
        raise BadInput(f"Expected `head` of {job.name} to be {_listed(task)}; found {head!r}.")
    return [Question(job, one.task, one.classes, one) for one in chosen]


def _listed(task: Heads) -> str:
    return ", ".join(head.name for head in task.heads)


def loss_function(question: Question, loss: AnyLogitLoss) -> Callable[..., Tensor]:
    """The function of a loss, for a task.

    Raises:
        BadInput: if it is the user's and cannot be imported, or has no meaning for the task.
    """
    if isinstance(loss, OwnLoss):
        function: Callable[..., Tensor] = own_function(loss.loss)
        return function
    known = OUTPUTS[question.task.name]
    if loss.loss not in known:
        one_head = "; `head` takes a loss of one head alone" if question.head else ""
        raise BadInput(
            f"Expected a loss of {question.job.name} that {question.described} has: "
            f"{', '.join(known)}, labels, losses between layers, or a function of your own; found "
            f"{loss.loss!r}{one_head}."
        )
    return known[loss.loss]


def class_weights(job: Job[BaseEntry], given: ClassWeights | None) -> Tensor | None:
    """Weights of the classes (classes,) of the task of the data, on the device.

    Raises:
        BadInput: if their number is not the number of classes.
    """
    return weights_of_classes(question_of(job), given)


def weights_of_classes(question: Question, given: ClassWeights | None) -> Tensor | None:
    """Weights of the classes (classes,) of a task, on the device.

    Raises:
        BadInput: if their number is not the number of classes.
    """
    if given is None:
        return None
    question.refuse_without_classes("`class_weights`")
    classes, device = len(question.classes), question.job.processes.device
    if given == "balanced":
        counts = torch.bincount(question.targets, minlength=classes)
        return balanced(counts).to(device)
    if len(given) != classes:
        raise BadInput(
            f"Expected `class_weights` to be {classes} numbers, one a class; found {len(given)}."
        )
    return torch.tensor(given, dtype=torch.float32, device=device)


def class_numbers(question: Question, classes: tuple[int | str, ...] | None) -> list[int] | None:
    """The numbers of classes given by number or name.

    Raises:
        BadInput: if a name is unknown.
    """
    if classes is None:
        return None
    question.refuse_without_classes("`classes`")
    names = question.classes
    unknown = [one for one in classes if isinstance(one, str) and one not in names]
    if unknown:
        raise BadInput(
            f"Expected `classes` to be numbers, or names among {', '.join(names)}; found "
            f"{unknown[0]!r}."
        )
    return [names.index(one) if isinstance(one, str) else one for one in classes]
