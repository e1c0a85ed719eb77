"""Values of a recipe that are more than a number. Nothing here costs the import of torch."""

from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Ramp:
    """A number that goes from one value at the first step to another at the last.

    Attributes:
        start: At the first step.
        end: At the last.
        schedule: `linear`, or `cosine`: slowly at both ends.
    """

    start: float
    end: float
    schedule: Literal["linear", "cosine"] = "linear"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def at(self, progress: float) -> float:
        """Its value when the part `progress` of all steps, in [0, 1], is behind."""
        gone = (1 - cos(pi * progress)) / 2 if self.schedule == "cosine" else progress
        return self.start + (self.end - self.start) * gone


@dataclass(frozen=True)
class Focus:
    """More weight for hard examples.

    Attributes:
        gamma: How much more; 0 is all the same.
        judge: Whose probability of the right class says what is hard.
    """

    gamma: float = 2.0
    judge: Literal["student", "teacher"] = "student"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


def at(value: float | Ramp, progress: float) -> float:
    """The value of a number that may change, when the part `progress` of all steps is behind."""
    return value.at(progress) if isinstance(value, Ramp) else value
