"""The target of a cut: the limit on what it leaves."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Self

from espalier.errors import BadInput

if TYPE_CHECKING:
    from espalier.pruning.size import Size


class TargetKind(NamedTuple):
    """A kind of target: the noun of what it limits, and whether its value is a fraction."""

    noun: str
    fraction: bool


TARGETS = {
    "keep_macs": TargetKind("multiply-accumulates", fraction=True),
    "keep_parameters": TargetKind("parameters", fraction=True),
    "bytes": TargetKind("bytes", fraction=False),
    "milliseconds": TargetKind("milliseconds", fraction=False),
    "sparsity": TargetKind("zeros", fraction=True),
    "below": TargetKind("weights", fraction=False),
    "below_mean": TargetKind("weights", fraction=False),
}


@dataclass(frozen=True)
class Target:
    """A limit.

    Attributes:
        name: one of `TARGETS`.
        value: a fraction of the base, bytes, milliseconds, the fraction of zeros, the size below
            which weights are removed, or that as a factor of the mean score of a layer.

    Raises:
        BadInput: if the value is out of range.
    """

    name: str
    value: float

    def __post_init__(self) -> None:
        if TARGETS[self.name].fraction and not 0 < self.value <= 1:
            raise BadInput(f"Expected `{self.name}` in (0, 1]; found {self.value}.")
        if not 0 < self.value < math.inf:
            raise BadInput(f"Expected `{self.name}` above 0; found {self.value}.")

    @classmethod
    def from_keywords(cls, **given: float | None) -> Self | None:
        """The target among some keywords; all other keywords are None.

        Raises:
            BadInput: if several are given, or the value is out of range.
        """
        targets = [cls(name, value) for name, value in given.items() if value is not None]
        if len(targets) > 1:
            names = ", ".join(target.name for target in targets)
            raise BadInput(f"Expected one target of {', '.join(TARGETS)}; found {names}.")
        return targets[0] if targets else None

    @property
    def noun(self) -> str:
        """The noun of what is limited."""
        return TARGETS[self.name].noun

    def limit(self, base: "Size") -> float:
        """The largest amount that may be left.

        Example:
            `keep_macs` of 0.5 of a base with 10 million multiply-accumulates: 5 million.
        """
        return self.value * base.unit(self.name)
