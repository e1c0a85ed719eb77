"""Schedules: the amount that is left after each of several cuts.

A schedule maps (start, end, progress) to the amount that is left, in any unit. `progress` in (0, 1]
is the fraction of the cuts that are done.
"""

from collections.abc import Callable

Schedule = Callable[[float, float, float], float]

ONE_SHOT = "one_shot"


def linear(start: float, end: float, progress: float) -> float:
    """Every cut removes the same amount."""
    return start + (end - start) * progress


def cubic(start: float, end: float, progress: float) -> float:
    """Early cuts remove much, late ones little (Zhu and Gupta 2017, eq. 1).

    The paper's formula is for the sparsity; this one is for the amount that is left.
    """
    return end + (start - end) * (1 - progress) ** 3


def geometric(start: float, end: float, progress: float) -> float:
    """Every cut removes the same fraction of what is left (Frankle and Carbin 2019, section 2)."""
    return float(start * (end / start) ** progress)


SCHEDULES: dict[str, Schedule] = {"linear": linear, "cubic": cubic, "geometric": geometric}


def amounts(schedule: str, start: float, end: float, steps: int) -> list[float]:
    """The amount that is left after each cut; the last is `end` exactly.

    Args:
        schedule: `one_shot`, which is one cut whatever the steps, or one of `SCHEDULES`.
        start: amount before the first cut.
        end: amount after the last cut.
        steps: number of cuts.

    Example:
        >>> amounts("linear", 1.0, 0.5, 2)
        [0.75, 0.5]
    """
    if schedule == ONE_SHOT:
        return [end]
    earlier = [SCHEDULES[schedule](start, end, step / steps) for step in range(1, steps)]
    return [*earlier, end]
