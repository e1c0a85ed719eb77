"""Intervals: an estimate with its bounds, and the test that only the bound can decide."""

import math
from typing import NamedTuple

LEVEL = 0.95  # of every interval in the reports


class Interval(NamedTuple):
    """An estimate and the bounds of its interval."""

    value: float
    low: float
    high: float


def non_inferior(upper: float, margin: float) -> bool:
    """Whether a drop is shown to be no larger than a margin.

    The upper bound of the interval decides, not the estimate. With a 95 % interval, a model whose
    true drop equals the margin passes in 2.5 % of all cases: the usual one-sided test of
    non-inferiority at half of the interval's error.

    Args:
        upper: upper bound of the drop's interval; if it is not finite, nothing is shown.
        margin: largest drop that is tolerated; a negative one asks for a gain.

    Raises:
        ValueError: if the margin is not in [-1, 1].

    Example:
        >>> non_inferior(0.008, margin=0.01)
        True
    """
    if not -1 <= margin <= 1:
        raise ValueError(f"Expected a margin in [-1, 1]; found {margin}.")
    return math.isfinite(upper) and upper <= margin
