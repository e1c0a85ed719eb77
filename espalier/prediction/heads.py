"""Several heads: a network answers several questions about an example at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.prediction.classification import Classification
from espalier.prediction.multilabel import Multilabel
from espalier.prediction.regression import Regression
from espalier.prediction.task import Task
from espalier.settings.tasks import HEADLINES, Headline

SINGLE: dict[str, Callable[..., Any]] = {
    "classification": Classification,
    "multilabel": Multilabel,
    "regression": Regression,
}


@dataclass(frozen=True)
class Head:
    """A task of its own, in some columns of the outputs, and in some of the targets and answers.

    Attributes:
        name: name of the head.
        task: its task.
        classes: names of its outputs.
        weight: weight of its loss.
        outputs: its columns of outputs.
        targets: its columns of targets and of answers.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    weight: float
    outputs: slice
    targets: slice

    def outputs_of(self, outputs: Any) -> Any:
        """The outputs (N, own) among outputs (N, all), a tensor or an array."""
        return outputs[:, self.outputs]

    def targets_of(self, targets: Tensor) -> Tensor:
        """The targets of the task, (N,) or (N, labels), among targets (N, all)."""
        own: Tensor = self._columns(targets)
        return own.long() if self.task.name == Classification.name else own

    def answers_of(self, answers: NDArray[Any]) -> NDArray[Any]:
        """The answers, or the targets, of the task among answers (N, all)."""
        own: NDArray[Any] = self._columns(answers)
        return own.astype(np.int64) if self.task.name == Classification.name else own

    @property
    def description(self) -> dict[str, Any]:
        """The head in `heads.json`: `columns` are the first of its outputs and that after the last."""
        columns = [self.outputs.start, self.outputs.stop]
        return {"task": self.task.name, "columns": columns, "classes": list(self.classes)}

    def _columns(self, values: Any) -> Any:
        """The own columns; a single value for each example if it is no set."""
        own = values[:, self.targets]
        return own if self.task.name == Multilabel.name else own[:, 0]


class ReadoutOfHeads(nn.Module):
    """The readout of each head on its own columns.

    Args:
        heads: heads in the order of their columns.
    """

    def __init__(self, heads: Sequence[Head]) -> None:
        super().__init__()
        self._columns = [head.outputs for head in heads]
        readouts = [head.task.readout() for head in heads]
        self.readouts = nn.ModuleList([one or nn.Identity() for one in readouts])

    def forward(self, outputs: Tensor) -> Tensor:
        """The outputs (N, all) in the units of the targets."""
        pairs = zip(self._columns, self.readouts, strict=True)
        return torch.cat([readout(outputs[:, columns]) for columns, readout in pairs], dim=1)


class Heads:
    """The task `heads`: targets (N, columns) float32 and outputs (N, outputs), sliced by head.

    The score of an example is the mean of its scores in all heads. It lies between 0 and 1, and
    weights of heads have no effect on it: they are weights of losses.

    Args:
        heads: facts of each head: `name`, `task`, `classes`, `weight`, and the `facts` of its task.

    Example:
        A head `colour` of three classes and a head `price`, a regression: outputs (N, 4), targets
        and answers (N, 2).
    """

    name: ClassVar[str] = "heads"
    headline: ClassVar[Headline] = HEADLINES["heads"]
    output: ClassVar[str] = "outputs"
    disjoint: ClassVar[bool] = False

    def __init__(self, heads: Sequence[Mapping[str, Any]] = ()) -> None:
        self.heads = _laid_out(heads)

    def width(self, classes: Sequence[str]) -> int:
        """The number of outputs of all heads."""
        return len(classes)

    def describe(self, classes: Sequence[str]) -> str:
        """The heads with their tasks in words."""
        described = [f"{head.name} ({head.task.describe(head.classes)})" for head in self.heads]
        return f"{len(self.heads)} heads: {', '.join(described)}"

    def readout(self) -> nn.Module | None:
        """The readouts of the heads; None if no head has one."""
        has_one = any(head.task.readout() is not None for head in self.heads)
        return ReadoutOfHeads(self.heads) if has_one else None

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        smoothing: float = 0.0,
        reduction: Literal["mean", "none"] = "mean",
    ) -> Tensor:
        """The weighted sum of the losses of the heads."""
        total = outputs.new_zeros(())
        for head in self.heads:
            own, wanted = head.outputs_of(outputs), head.targets_of(targets)
            loss = head.task.loss(
                own,
                wanted,
                smoothing=smoothing,
                reduction=reduction,
            )
            total = total + head.weight * loss
        return total

    def score(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean of the scores of the heads."""
        scores = [
            head.task.score(head.outputs_of(outputs), head.targets_of(targets))
            for head in self.heads
        ]
        return torch.stack(scores).mean(0)

    def answers(self, outputs: NDArray[Any]) -> NDArray[np.float32]:
        """The answers (N, columns): a class number, a set of 0 and 1, or a value for each head."""
        answered = [head.task.answers(head.outputs_of(outputs)) for head in self.heads]
        columns = [one.reshape(len(outputs), -1).astype(np.float32) for one in answered]
        return np.concatenate(columns, axis=1)

    def scores(self, answers: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.float64]:
        """The mean of the scores of the heads; a head whose outputs are not finite has 0."""
        scores = [
            head.task.scores(head.answers_of(answers), head.answers_of(targets))
            for head in self.heads
        ]
        mean: NDArray[np.float64] = np.mean(scores, axis=0)
        return mean

    def agree(self, answers: NDArray[Any], others: NDArray[Any]) -> NDArray[np.bool_]:
        """Whether all heads agree."""
        each = [
            head.task.agree(head.answers_of(answers), head.answers_of(others))
            for head in self.heads
        ]
        all_of_them: NDArray[np.bool_] = np.all(each, axis=0)
        return all_of_them

    def groups(self, targets: NDArray[Any], classes: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
        """The groups of every head."""
        del classes
        return {
            f"{head.name}: {group}": members
            for head in self.heads
            for group, members in head.task.groups(head.answers_of(targets), head.classes).items()
        }

    def strata(self, targets: NDArray[Any]) -> NDArray[Any]:
        """The combinations of the strata of all heads that occur, by number."""
        each = [head.task.strata(head.answers_of(targets)) for head in self.heads]
        _, number = np.unique(np.stack(each, axis=1), axis=0, return_inverse=True)
        return number.ravel()


def _laid_out(facts: Sequence[Mapping[str, Any]]) -> tuple[Head, ...]:
    """The heads, whose columns follow one another."""
    heads: list[Head] = []
    first_output = first_target = 0
    for one in facts:
        task = SINGLE[one["task"]](**one.get("facts", {}))
        classes = tuple(one["classes"])
        last_output = first_output + task.width(classes)
        last_target = first_target + (len(classes) if one["task"] == Multilabel.name else 1)
        head = Head(
            one["name"],
            task,
            classes,
            float(one.get("weight", 1.0)),
            slice(first_output, last_output),
            slice(first_target, last_target),
        )
        heads.append(head)
        first_output, first_target = last_output, last_target
    return tuple(heads)
