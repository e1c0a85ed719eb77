"""Correction for several candidates: the chance that any worse one passes stays at the error of one test."""

from collections.abc import Callable, Collection, Hashable
from typing import TypeVar

from espalier.judging.interval import LEVEL

Name = TypeVar("Name", bound=Hashable)


def holm(
    names: Collection[Name], passes: Callable[[Name, float], bool], level: float = LEVEL
) -> dict[Name, float]:
    """The step-down procedure of Holm, by bounds of intervals instead of p-values.

    A candidate passes alone if its upper bounds at `level` are at most their margins. Of m
    candidates, those pass whose bounds have 1/m of the error of `level`; then of the others those
    with 1/(m - k) of it, if k have passed; and so on until no further candidate passes. The chance
    that at least one candidate passes whose drop exceeds its margin is at most that of a single
    test, half of the error of `level`, however the candidates depend on each other.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure". The hypotheses
    are `drop > margin`; a candidate with several gates passes if it passes each (Berger 1982,
    "Multiparameter hypothesis testing and acceptance sampling"), so that its gates need no
    correction among themselves.

    A candidate must also pass with every larger part of the error. Tango's bounds do so by
    themselves; betting bounds need not shrink with the level, since their bets depend on it.

    Args:
        names: all candidates that are judged.
        passes: whether a candidate passes, by its name and the level of its intervals.
        level: level of the intervals of a single candidate.

    Returns:
        The level by which each candidate was decided: that at which it has passed, or the last one,
        at which it has not. `passes` at this level is the verdict.

    Example:
        Of two candidates, the better one passes at 97.5 %, so the other one is judged at 95 %:

        >>> largest = {"good": 0.99, "fair": 0.96}
        >>> decided = holm(["good", "fair"], lambda name, level: level <= largest[name])
        >>> {name: round(level, 4) for name, level in decided.items()}
        {'good': 0.975, 'fair': 0.95}
    """
    parts = [1 - (1 - level) / count for count in range(1, len(names) + 1)]
    decided: dict[Name, float] = {}
    remaining = list(names)
    while remaining:
        looser = parts[: len(remaining)]
        passed = [name for name in remaining if all(passes(name, one) for one in looser)]
        if not passed:
            return decided | dict.fromkeys(remaining, looser[-1])
        decided |= dict.fromkeys(passed, looser[-1])
        remaining = [name for name in remaining if name not in passed]
    return decided
