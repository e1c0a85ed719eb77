"""Several tasks at once: an objective for each head of a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from espalier.distillation.bank import TeacherOutputs
from espalier.distillation.losses import OUTPUTS
from espalier.distillation.objectives import WeightedSum
from espalier.distillation.settings import Ramp
from espalier.errors import BadInput
from espalier.prediction import Head, Heads, Task
from espalier.training.heads import labels_of
from espalier.training.loss_inputs import LossInputs, Objective


def from_heads(objectives: Mapping[str, tuple[float | Ramp, Objective]]) -> WeightedSum:
    """The weighted sum of an objective for each head, which sees the logits and labels of that head alone.

    The labels of a batch are (N, heads), a column for each head in the network's order, or (N,) for all of them.

    Args:
        objectives: For the name of each head (`0`, `1`, ... where the network puts out a sequence) a weight and what
            is minimised; a head without one is not taught.
    """
    return WeightedSum(
        [(weight, _OfHead(name, objective)) for name, (weight, objective) in objectives.items()]
    )


class _OfHead(nn.Module):
    """An objective that takes a head for the network; a module, so that what it trains along is found."""

    def __init__(self, name: str, objective: Objective) -> None:
        super().__init__()
        self._name, self.objective = name, objective

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch."""
        names = list(seen.heads)
        if self._name not in names:
            raise BadInput(
                f"Expected a head to be one of {', '.join(names)}; found {self._name!r}."
            )
        labels = labels_of(seen.batch.targets, names.index(self._name))
        batch = replace(seen.batch, targets=labels)
        return self.objective(replace(seen, outputs=seen.heads[self._name], batch=batch))


class OfColumns(nn.Module):
    """An objective on the columns of one head of the task `heads`.

    It is a module, so that the parameters of the objective are trained.

    Args:
        head: head of the task.
        objective: objective, which gets the outputs and the targets of the head alone.
    """

    def __init__(self, head: Head, objective: Objective) -> None:
        super().__init__()
        self._head, self.objective = head, objective

    def forward(self, seen: LossInputs) -> Tensor:
        """The loss of a batch."""
        batch = replace(seen.batch, targets=self._head.targets_of(seen.batch.targets))
        outputs = self._head.outputs_of(seen.outputs)
        return self.objective(replace(seen, outputs=outputs, batch=batch))


@dataclass(frozen=True)
class TeacherColumns:
    """The outputs of a teacher for one head of the task `heads`.

    Attributes:
        teacher: outputs of all heads.
        head: the head.
    """

    teacher: TeacherOutputs
    head: Head

    def view(self, number: int) -> Tensor:
        """The outputs (N, own) float32 for one view of all examples, in their order."""
        columns: Tensor = self.head.outputs_of(self.teacher.view(number))
        return columns


def soft_targets_of(task: Task, temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The soft targets of a task; of several heads their weighted sum.

    Args:
        task: task of the outputs.
        temperature: temperature of both distributions.

    Returns:
        A function of the outputs (N, width) of the student and of the teacher.
    """

    def between(student: Tensor, teacher: Tensor) -> Tensor:
        if not isinstance(task, Heads):
            return OUTPUTS[task.name]["soft_targets"](student, teacher, temperature=temperature)
        total = student.new_zeros(())
        for head in task.heads:
            ours, theirs = head.outputs_of(student), head.outputs_of(teacher)
            loss = OUTPUTS[head.task.name]["soft_targets"]
            total = total + head.weight * loss(ours, theirs, temperature=temperature)
        return total

    return between
