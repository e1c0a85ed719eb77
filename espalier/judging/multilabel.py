"""Figures of label sets that are shown and never gated."""

import numpy as np


def macro_f1(targets: np.ndarray, answers: np.ndarray) -> float:
    """The F1 score of each label, averaged over the labels that occur.

    Args:
        targets: true sets (N, labels) of 0 and 1.
        answers: answered sets (N, labels) of 0 and 1.
    """
    right = ((targets == 1) & (answers == 1)).sum(0)
    named = (targets == 1).sum(0) + (answers == 1).sum(0)
    known = (targets == 1).any(0)
    return float((2 * right[known] / named[known]).mean()) if known.any() else float("nan")


def mean_average_precision(targets: np.ndarray, logits: np.ndarray) -> float:
    """The average precision of the ranking by each label's logit, averaged over labels that occur.

    Args:
        targets: true sets (N, labels) of 0 and 1.
        logits: logits (N, labels).

    Example:
        The examples ranked first and third have the label: (1/1 + 2/3) / 2.
    """
    if not np.isfinite(logits).all():
        return float("nan")
    found = [
        _average_precision(targets[:, label], logits[:, label])
        for label in range(targets.shape[1])
        if targets[:, label].any()
    ]
    return float(np.mean(found)) if found else float("nan")


def _average_precision(targets: np.ndarray, logits: np.ndarray) -> float:
    ranked = targets[np.argsort(-logits, kind="stable")] == 1
    precision = ranked.cumsum() / np.arange(1, len(ranked) + 1)
    return float(precision[ranked].mean())
