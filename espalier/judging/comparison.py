"""A model beside a reference (its teacher, or the champion) on the same examples."""

from dataclasses import dataclass

import numpy as np

from espalier.judging.bounded import as_scores, bounded_drop
from espalier.judging.drop import drop_interval
from espalier.judging.interval import LEVEL, Interval
from espalier.judging.mcnemar import mcnemar
from espalier.judging.mean_score import is_binary

_CLEARLY = 0.5  # difference of scores from which an example counts as lost or gained


@dataclass(frozen=True)
class Comparison:
    """The difference of a model's scores from a reference's.

    Attributes:
        drop: mean score of the reference minus that of the model, with its paired interval.
        p: p-value of the hypothesis that both are equally good.
        lost: number of examples whose score is lower by at least one half: the model forgot them.
        gained: number of examples whose score is higher by at least one half.
    """

    drop: Interval
    p: float
    lost: int
    gained: int


def compare(scores: np.ndarray, reference: np.ndarray, level: float = LEVEL) -> Comparison:
    """Compare two models on the same examples.

    If all scores are 0 or 1, the interval is Tango's and the test McNemar's; else both come from
    `bounded_drop`, with more room.

    Args:
        scores: scores (N,) of the model, in [0, 1], or whether each answer is right.
        reference: scores (N,) of the reference.
        level: level of the interval.

    Raises:
        ValueError: if a score is not in [0, 1].
    """
    scores, reference = as_scores(scores), as_scores(reference)
    lost = len(forgotten(scores, reference))
    gained = len(forgotten(reference, scores))
    if not (is_binary(scores) and is_binary(reference)):
        drop, p = bounded_drop(scores, reference, level)
        return Comparison(drop, p, lost, gained)
    low, high = drop_interval(lost, gained, len(scores), level)
    drop = Interval((lost - gained) / len(scores), float(low), float(high))
    return Comparison(drop, mcnemar(lost, gained), lost, gained)


def forgotten(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The indices of the examples whose score is lower than the reference's by at least one half.

    Where scores are 0 or 1, these are the examples that the reference has right and the model has wrong.

    Args:
        scores: scores (N,) of the model.
        reference: scores (N,) of the reference.
    """
    return np.flatnonzero(as_scores(reference) - as_scores(scores) >= _CLEARLY)
