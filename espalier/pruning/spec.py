"""The pruning request: what to remove, how much of it, and by which score and budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from espalier.errors import BadInput
from espalier.pruning.patterns import PATTERNS, Pattern
from espalier.pruning.schedules import ONE_SHOT, SCHEDULES, amounts
from espalier.pruning.scores import Score, score_named
from espalier.pruning.target import TARGETS, THRESHOLDS, Target

Reconstruction = bool | Literal["layers"]
"""Whether the kept channels take over what the removed ones did: at once, or one layer after another."""


@dataclass(frozen=True, kw_only=True)
class PruneSpec:
    """A pruning request. It is validated once, when it is made, and handed on whole.

    Attributes:
        pattern: kind of groups, one of `PATTERNS`.
        targets: limits on what is left, which all hold; none for the pattern `n_of_m`.
        score: importance of groups, one of `espalier.pruning.scores.SCORES`.
        budget: distribution over layers, one of `espalier.pruning.budgets.BUDGETS`.
        align: widths that are left are multiples of this, where they were before.
        keep: names of layers whose outputs stay.
        n: number of weights that stay of every `m`, for `n_of_m`.
        m: number of consecutive weights that form a group, for `n_of_m`.
        schedule: amount of each of several cuts, `one_shot` or one of `SCHEDULES`.
        steps: number of cuts.
        reconstruct: whether the kept channels take over what the removed ones did, if there are data, at once
            or one layer after another.

    Raises:
        BadInput: if a name is unknown, a value is out of range, or two of them contradict.
    """

    pattern: str = "channels"
    targets: tuple[Target, ...] = ()
    score: str = "magnitude"
    budget: str = "global"
    align: int = 8
    keep: tuple[str, ...] = ()
    n: int = 2
    m: int = 4
    schedule: str = ONE_SHOT
    steps: int = 1
    reconstruct: Reconstruction = True

    def __post_init__(self) -> None:
        if self.pattern not in PATTERNS:
            known = ", ".join(PATTERNS)
            raise BadInput(f"Expected `pattern` to be one of {known}; found {self.pattern!r}.")
        if self.align < 1:
            raise BadInput(f"Expected `align` of at least 1; found {self.align}.")
        score_named(self.score, self.pattern)
        self._check_targets()
        self._check_budget()
        self._check_schedule()

    @property
    def importance(self) -> Score:
        """The score, with its function.

        Raises:
            BadInput: if there is none of this name, or it does not fit the pattern.
        """
        return score_named(self.score, self.pattern)

    @property
    def kind(self) -> Pattern:
        """The row of the pattern table."""
        return PATTERNS[self.pattern]

    @property
    def is_timed(self) -> bool:
        """Whether latencies are measured, so that the result depends on the device that is timed."""
        return "milliseconds" in self._names or self.budget == "latency"

    @property
    def threshold(self) -> Target | None:
        """The target that is a threshold of scores, which leaves no choice; None if it is a limit."""
        return next((target for target in self.targets if target.name in THRESHOLDS), None)

    def stepwise(self, start: Mapping[str, float]) -> list[tuple[Target, ...]]:
        """The targets of each cut.

        Args:
            start: amount that there is before the first cut, in the unit of each target, by name.
        """
        if self.steps == 1:
            return [self.targets]
        each = [self._approached(target, start[target.name]) for target in self.targets]
        return list(zip(*each, strict=True))

    def _approached(self, target: Target, start: float) -> list[Target]:
        """The values of one target over all cuts."""
        name, end = target.name, target.value
        if name == "sparsity":  # the schedule speaks of what is left
            left = amounts(self.schedule, start, 1 - end, self.steps)
            return [Target(name, 1 - amount) for amount in left]
        return [Target(name, left) for left in amounts(self.schedule, start, end, self.steps)]

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(target.name for target in self.targets)

    def _check_targets(self) -> None:
        allowed = self.kind.targets
        found = ", ".join(f"`{name}`" for name in self._names) or "none"
        if not allowed and self.targets:
            raise BadInput(
                f"Expected no target for `pattern: {self.pattern}` but `n` and `m`; found {found}."
            )
        if allowed and (not self.targets or not set(self._names) <= set(allowed)):
            raise BadInput(
                f"Expected a target of {', '.join(allowed)} for `pattern: {self.pattern}`; "
                f"found {found}."
            )
        if not allowed and not 0 < self.n < self.m:
            raise BadInput(f"Expected `n` between 0 and `m`; found `n: {self.n}`, `m: {self.m}`.")
        if Target("sparsity", 1) in self.targets:
            raise BadInput("Expected `sparsity` in (0, 1); found 1.")
        if (self.score == "threshold") != ("below" in self._names):
            raise BadInput(
                "Expected `score: threshold` and the target `below` together; found "
                f"`score: {self.score}` with {found} as target."
            )

    def _check_budget(self) -> None:
        allowed = self.kind.budgets
        if self.budget not in allowed:
            raise BadInput(
                f"Expected `budget` to be one of {', '.join(allowed)} for "
                f"`pattern: {self.pattern}`; found {self.budget!r}."
            )
        timed = ("keep_macs", "milliseconds")
        other = [name for name in self._names if name not in timed]
        if self.budget == "latency" and other:
            raise BadInput(
                f"Expected a target in {TARGETS['keep_macs'].noun} or milliseconds for "
                f"`budget: latency`; found `{other[0]}`."
            )

    def _check_schedule(self) -> None:
        known = (ONE_SHOT, *SCHEDULES)
        if self.schedule not in known:
            raise BadInput(
                f"Expected `schedule` to be one of {', '.join(known)}; found {self.schedule!r}."
            )
        several = self.steps > 1
        if several != (self.schedule != ONE_SHOT):
            raise BadInput(
                f"Expected `steps` of 2 or more together with a `schedule` other than {ONE_SHOT}; "
                f"found `schedule: {self.schedule}`, `steps: {self.steps}`."
            )
        if several and (not self.targets or self.threshold):
            raise BadInput(
                "Expected a target that several `steps` can approach; found `n_of_m` or a threshold."
            )
