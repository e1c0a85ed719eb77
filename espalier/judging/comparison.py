"""A model beside a reference (its teacher, or the champion) on the same examples."""

from dataclasses import dataclass

import numpy as np

from espalier.judging.drop import drop_interval
from espalier.judging.interval import LEVEL, Interval
from espalier.judging.mcnemar import mcnemar
from espalier.prediction import NO_ANSWER


@dataclass(frozen=True)
class Comparison:
    """How a model's answers differ from the reference's.

    Attributes:
        drop: The reference's accuracy minus the model's, with its paired score interval.
        p: Of the exact test that both are right equally often.
        agreement: The fraction of examples to which both give the same answer, right or wrong.
        lost: How many examples only the reference has right: those that the model forgot.
        gained: How many only the model has right.
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
        labels: Of the examples (N,).
        predicted: The model's answers (N,).
        reference: The reference's answers (N,).
        level: Of the interval.
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
