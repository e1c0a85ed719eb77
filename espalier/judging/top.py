"""Accuracy within the largest logits."""

import numpy as np

from espalier.prediction import NO_ANSWER, answers


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
