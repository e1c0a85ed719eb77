"""The targets of a cut: limits on what it leaves."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from espalier.errors import BadInput

if TYPE_CHECKING:
    from espalier.pruning.size import Size


class TargetKind(NamedTuple):
    """A kind of target.

    Attributes:
        noun: noun of what it limits.
        fraction: whether its value is a fraction.
        size: whether it limits a size of the network; several sizes can be limited together.
    """

    noun: str
    fraction: bool
    size: bool = False


THRESHOLDS = ("below", "below_mean")  # targets of a single step, which limit no cost
TARGETS = {
    "keep_macs": TargetKind("multiply-accumulates", fraction=True, size=True),
    "keep_parameters": TargetKind("parameters", fraction=True, size=True),
    "bytes": TargetKind("bytes", fraction=False, size=True),
    "milliseconds": TargetKind("milliseconds", fraction=False, size=True),
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


def targets_of(**given: float | None) -> tuple[Target, ...]:
    """The targets among some keywords; all other keywords are None.

    Raises:
        BadInput: if a value is out of range, or a target stands beside others that are not sizes.

    Example:
        `keep_macs=0.5, keep_parameters=0.6, bytes=None`: two targets, and a cut keeps both.
    """
    targets = tuple(Target(name, value) for name, value in given.items() if value is not None)
    alone = [target.name for target in targets if not TARGETS[target.name].size]
    if alone and len(targets) > 1:
        sizes = ", ".join(name for name, kind in TARGETS.items() if kind.size)
        raise BadInput(
            f"Expected several targets to be sizes ({sizes}); found `{alone[0]}` beside another."
        )
    return targets
