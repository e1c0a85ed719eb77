"""Settings of losses that are more than a number. This module does not import torch."""

from dataclasses import dataclass
from math import cos, pi
from typing import ClassVar, Literal


@dataclass(frozen=True)
class Ramp:
    """A number that changes from the first step to the last.

    Attributes:
        start: value at the first step.
        end: value at the last step.
        schedule: `linear`, or `cosine`: slowly at both ends.
    """

    start: float
    end: float
    schedule: Literal["linear", "cosine"] = "linear"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    def at(self, progress: float) -> float:
        """The value after a fraction `progress` of all steps, in [0, 1]."""
        done = (1 - cos(pi * progress)) / 2 if self.schedule == "cosine" else progress
        return self.start + (self.end - self.start) * done


@dataclass(frozen=True)
class Focus:
    """More weight for hard examples.

    Attributes:
        gamma: strength; 0 weights all examples equally.
        judge: network whose probability of the right class decides what is hard.
    """

    gamma: float = 2.0
    judge: Literal["student", "teacher"] = "student"

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}


def at(value: float | Ramp, progress: float) -> float:
    """The value of a number or a ramp after a fraction `progress` of all steps."""
    return value.at(progress) if isinstance(value, Ramp) else value
