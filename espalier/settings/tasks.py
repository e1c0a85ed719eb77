"""Settings of tasks, and the figures that they are known by."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from espalier.errors import BadInput, row_named

_HEAD = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]*")

TaskName = Literal["classification", "multilabel", "regression"]


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """The key `data.task` of `params.yaml`.

    Attributes:
        name: the task; None lets it follow from the labels.
        tolerance: largest error of a right answer of a regression, in the unit of the targets; None
            takes half of their standard deviation.
    """

    name: TaskName | None = None
    tolerance: float | None = None

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        """Refuse a tolerance that no answer, or that of another task, could be within.

        Raises:
            BadInput: if it is not above 0, or the task is no regression.
        """
        _check_tolerance(self.tolerance, self.name, "data.task.tolerance", "name")


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """A head, under its name in the section `data.heads` of `params.yaml`.

    Attributes:
        label: column of its labels; None for the column of its name.
        task: its task; None lets it follow from the labels.
        tolerance: as in `TaskSettings`.
        weight: weight of its loss.
    """

    label: str | None = None
    task: TaskName | None = None
    tolerance: float | None = None
    weight: float = 1.0

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Refuse a tolerance as `TaskSettings` does, and a weight without a meaning.

        Raises:
            BadInput: if one has another value.
        """
        _check_tolerance(self.tolerance, self.task, "data.heads.NAME.tolerance", "task")
        if not 0 < self.weight < math.inf:
            raise BadInput(f"Expected `data.heads.NAME.weight` to be above 0; found {self.weight}.")

    @property
    def task_settings(self) -> TaskSettings:
        """The settings of its task."""
        return TaskSettings(name=self.task, tolerance=self.tolerance)


def _check_tolerance(
    tolerance: float | None, task: TaskName | None, key: str, task_key: str
) -> None:
    """Refuse a tolerance that no answer, or that of another task, could be within."""
    if tolerance is None:
        return
    if tolerance <= 0:
        raise BadInput(f"Expected `{key}` to be above 0; found {tolerance}.")
    if task not in (None, "regression"):
        raise BadInput(f"Expected `{key}` with `{task_key}: regression`; found {task}.")


def check_names(heads: Mapping[str, HeadSettings]) -> None:
    """Refuse names of heads that names of columns and metrics cannot contain.

    Raises:
        BadInput: if one has another letter.
    """
    for name in heads:
        if not _HEAD.fullmatch(name):
            raise BadInput(
                "Expected a name in `data.heads` to consist of letters, digits, spaces, '_' and "
                f"'-'; found {name!r}: `label` names a column of any name."
            )


@dataclass(frozen=True)
class Headline:
    """The figure that a task is known by: the mean score of a model.

    Attributes:
        name: its name, which is also that of the columns of tables.
        unit: unit in which people read it.
        factor: factor from the mean score to that unit.
        words: the name in words, where it is not the name with spaces.
    """

    name: str
    unit: str
    factor: float
    words: str = ""

    def text(self, score: float) -> str:
        """A mean score as people read it, such as `98.33 %`."""
        return f"{self.factor * score:.2f} {self.unit}"

    @property
    def title(self) -> str:
        """The name in words."""
        return self.words or self.name.replace("_", " ")


HEADLINES: dict[str, Headline] = {
    "classification": Headline("accuracy", "%", 100),
    "multilabel": Headline("jaccard", "% Jaccard index", 100, "Jaccard index"),
    "regression": Headline(
        "within_tolerance", "% within tolerance", 100, "fraction within tolerance"
    ),
    "heads": Headline("mean_score", "% mean score", 100, "mean score of the heads"),
}


def headline_of(task: str) -> Headline:
    """The headline of the task of a name.

    Raises:
        BadInput: if there is none.
    """
    return row_named(HEADLINES, task, "a task")
