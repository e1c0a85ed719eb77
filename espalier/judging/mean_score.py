"""The mean score of a model."""

import numpy as np
from scipy.stats import binomtest

from espalier.judging.bounded import bounded_mean
from espalier.judging.interval import LEVEL, Interval


def mean_score(scores: np.ndarray, level: float = LEVEL) -> Interval:
    """The mean score with its interval: Wilson's score interval of a fraction, or a betting interval.

    Source: for scores of 0 and 1 Wilson (1927), "Probable inference, the law of succession, and
    statistical inference"; for others `bounded_mean`.

    Args:
        scores: scores (N,) of the examples, in [0, 1]; for a classification 1 where the answer is
            right.
        level: level of the interval.
    """
    if not is_binary(scores):
        return bounded_mean(scores, level)
    right = int(scores.sum())
    bounds = binomtest(right, len(scores)).proportion_ci(level, "wilson")
    return Interval(right / len(scores), float(bounds.low), float(bounds.high))


def is_binary(scores: np.ndarray) -> bool:
    """Whether all scores are 0 or 1."""
    return bool(np.isin(scores, (0, 1)).all())
