"""Accuracy: the fraction of right answers."""

import numpy as np
from scipy.stats import binomtest

from espalier.judging.interval import LEVEL, Interval
from espalier.prediction import NO_ANSWER, answers


def accuracy(labels: np.ndarray, predicted: np.ndarray, level: float = LEVEL) -> Interval:
    """The fraction of right answers with its score interval.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".

    Args:
        labels: labels (N,) of the examples.
        predicted: answers (N,).
        level: level of the interval.
    """
    right = int((labels == predicted).sum())
    bounds = binomtest(right, len(labels)).proportion_ci(level, "wilson")
    return Interval(right / len(labels), float(bounds.low), float(bounds.high))


def top(labels: np.ndarray, logits: np.ndarray, k: int) -> float:
    """The fraction of examples whose label is among the `k` largest of the logits (N, classes).

    Raises:
        ValueError: if there are at most `k` classes, for which every model would have 1.
    """
    if logits.shape[1] <= k:
        raise ValueError(
            f"Expected more than {k} classes for a top-{k} accuracy; found {logits.shape[1]}."
        )
    among = (np.argpartition(-logits, k - 1, axis=1)[:, :k] == labels[:, None]).any(1)
    return float((among & (answers(logits) != NO_ANSWER)).mean())
