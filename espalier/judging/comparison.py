"""A model beside a reference (its teacher, or the champion) on the same examples."""

from dataclasses import dataclass

import numpy as np

from espalier.judging.drop import drop_interval
from espalier.judging.interval import LEVEL, Interval
from espalier.judging.mcnemar import mcnemar
from espalier.prediction import NO_ANSWER


@dataclass(frozen=True)
class Comparison:
    """The difference of a model's answers from a reference's.

    Attributes:
        drop: accuracy of the reference minus that of the model, with its paired score interval.
        p: p-value of the exact test that both are right equally often.
        agreement: fraction of examples to which both give the same answer, right or wrong.
        lost: number of examples that only the reference has right: the model forgot them.
        gained: number of examples that only the model has right.
    """

    drop: Interval
    p: float
    agreement: float
    lost: int
    gained: int


def compare(
    labels: np.ndarray, predicted: np.ndarray, reference: np.ndarray, level: float = LEVEL
) -> Comparison:
    """Compare two models on the same examples.

    Args:
        labels: labels (N,) of the examples.
        predicted: answers (N,) of the model.
        reference: answers (N,) of the reference.
        level: level of the interval.
    """
    right, was_right = predicted == labels, reference == labels
    lost, gained = int((was_right & ~right).sum()), int((right & ~was_right).sum())
    low, high = drop_interval(lost, gained, len(labels), level)
    return Comparison(
        drop=Interval((lost - gained) / len(labels), float(low), float(high)),
        p=mcnemar(lost, gained),
        agreement=float(((predicted == reference) & (predicted != NO_ANSWER)).mean()),
        lost=lost,
        gained=gained,
    )


def forgotten(labels: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The indices of the examples that the reference has right and the model has wrong.

    Args:
        labels: labels (N,) of the examples.
        predicted: answers (N,) of the model.
        reference: answers (N,) of the reference.
    """
    return np.flatnonzero((reference == labels) & (predicted != labels))
