"""Settings of tasks."""

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
