"""Learning rates as functions of the step, so that there is no state to save.

Each maps (step, steps) to a factor.
"""

from collections.abc import Callable
from math import cos, pi

Schedule = Callable[[int, int, float], float]


def constant(step: int, steps: int, warmup: float) -> float:
    """Always the whole rate."""
    del step, steps, warmup
    return 1.0


def cosine(step: int, steps: int, warmup: float) -> float:
    """Half a cosine from the whole rate to nothing (Loshchilov and Hutter 2017, eq. 5, one period)."""
    del warmup
    return (1 + cos(pi * step / steps)) / 2


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """A linear rise over the first part `warmup` of all steps, then half a cosine (after Smith and Topin 2018)."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return (1 + cos(pi * (step - rise) / (steps - rise))) / 2


SCHEDULES: dict[str, Schedule] = {"constant": constant, "cosine": cosine, "one_cycle": one_cycle}
