"""Tasks: what is asked of an example.

A task owns the type of the targets, the loss, the *score* (one number for each example, larger is
better), and the name and unit of the headline figure, which is the mean score.
"""

from espalier.errors import BadInput
from espalier.prediction.classification import NO_ANSWER, Classification, answers
from espalier.prediction.task import Headline, Task

CLASSIFICATION = Classification()
TASKS: dict[str, Task] = {"classification": CLASSIFICATION}


def task_named(name: str) -> Task:
    """The task of a name.

    Raises:
        BadInput: if there is none.
    """
    if name not in TASKS:
        raise BadInput(f"Expected a task of {', '.join(TASKS)}; found {name!r}.")
    return TASKS[name]


__all__ = ["CLASSIFICATION", "NO_ANSWER", "TASKS", "Headline", "Task", "answers", "task_named"]
