"""Settings of tasks, and the figures that they are known by."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from espalier.errors import BadInput

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

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def __post_init__(self) -> None:
        """Refuse a tolerance that no answer, or that of another task, could be within.

        Raises:
            BadInput: if it is not above 0, or the task is no regression.
        """
        if self.tolerance is None:
            return
        if self.tolerance <= 0:
            raise BadInput(f"Expected `data.task.tolerance` to be above 0; found {self.tolerance}.")
        if self.name not in (None, "regression"):
            raise BadInput(
                f"Expected `data.task.tolerance` with `name: regression`; found {self.name}."
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
}
