"""A figure with the interval it lies in, and the verdict that only the interval may give."""

import math
from typing import NamedTuple

LEVEL = 0.95  # of every interval in the reports


class Interval(NamedTuple):
    """An estimate and the bounds of its interval."""

    value: float
    low: float
    high: float


def non_inferior(drop: Interval, margin: float) -> bool:
    """Whether a drop is shown to be no larger than a margin: the interval's upper bound is, not just the estimate.

    With a 95 % interval, a model whose true drop is the margin passes in 2.5 % of cases: the usual test of
    non-inferiority, one-sided at half of the interval's error.

    Args:
        drop: The drop with its interval.
        margin: The largest drop that is tolerated.

    Raises:
        ValueError: If the margin is not in [0, 1].
    """
    if not 0 <= margin <= 1:
        raise ValueError(f"Expected a margin to lie in [0, 1]; found {margin}.")
    return math.isfinite(drop.high) and drop.high <= margin
