"""Schedules say how much is left after each of several cuts: each maps (start, end, progress) to what is left.

`start` and `end` are amounts that are left, in any unit; `progress` in (0, 1] is the part of the cuts that is done.
"""

from collections.abc import Callable

Schedule = Callable[[float, float, float], float]


def linear(start: float, end: float, progress: float) -> float:
    """As much goes in every cut."""
    return start + (end - start) * progress


def cubic(start: float, end: float, progress: float) -> float:
    """Much goes first, little last (Zhu and Gupta 2017, eq. 1, with what is left instead of the sparsity)."""
    return end + (start - end) * (1 - progress) ** 3


def geometric(start: float, end: float, progress: float) -> float:
    """The same part of what is left goes in every cut (Frankle and Carbin 2019, section 2)."""
    return float(start * (end / start) ** progress)


SCHEDULES: dict[str, Schedule] = {"linear": linear, "cubic": cubic, "geometric": geometric}


def amounts(schedule: str, start: float, end: float, steps: int) -> list[float]:
    """What is left after each cut; the last is `end` exactly. `one_shot` makes one cut, whatever the steps.

    Args:
        schedule: `one_shot`, or one of `SCHEDULES`.
        start: What there is before.
        end: What is to be left.
        steps: How many cuts.
    """
    if schedule == "one_shot":
        return [end]
    left = [SCHEDULES[schedule](start, end, step / steps) for step in range(1, steps)]
    return [*left, end]
