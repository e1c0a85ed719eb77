"""Answers: from logits to labels, and those that were lost."""

import numpy as np

NO_ANSWER = -1


def answers(logits: np.ndarray) -> np.ndarray:
    """The label (N,) with the largest of the logits (N, classes); `NO_ANSWER` where one of them is not finite."""
    return np.where(np.isfinite(logits).all(1), logits.argmax(1), NO_ANSWER)


def forgotten(labels: np.ndarray, predicted: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The indices of the examples that the reference has right and the model has wrong.

    Args:
        labels: Of the examples (N,).
        predicted: The model's answers (N,).
        reference: The reference's answers (N,).
    """
    return np.flatnonzero((reference == labels) & (predicted != labels))
