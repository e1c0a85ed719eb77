"""Tasks: what is asked of an example.

A task owns the type of the targets, the loss, the *score* (one number for each example, larger is
better), and the name and unit of the headline figure, which is the mean score.
"""

from collections.abc import Callable, Mapping
from typing import Any

from espalier.errors import row_named
from espalier.prediction.classification import NO_ANSWER, Classification, answers
from espalier.prediction.concepts import REST, Concepts
from espalier.prediction.heads import SINGLE, Head, Heads
from espalier.prediction.multilabel import Multilabel
from espalier.prediction.regression import Regression
from espalier.prediction.task import Task
from espalier.settings.tasks import Headline

CLASSIFICATION = Classification()
TASKS: dict[str, Callable[..., Any]] = {**SINGLE, "heads": Heads}


def task_named(name: str, facts: Mapping[str, Any] | None = None) -> Task:
    """The task of a name.

    Args:
        name: name of the task.
        facts: what it records of the data, such as the tolerance of a regression.

    Raises:
        BadInput: if there is none.
    """
    task: Task = row_named(TASKS, name, "a task")(**(facts or {}))
    return task


__all__ = [
    "CLASSIFICATION",
    "NO_ANSWER",
    "REST",
    "TASKS",
    "Classification",
    "Concepts",
    "Head",
    "Headline",
    "Heads",
    "Multilabel",
    "Regression",
    "Task",
    "answers",
    "task_named",
]
