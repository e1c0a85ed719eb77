"""Calibration: how far confidence and accuracy differ."""

import numpy as np
from scipy.special import softmax
from scipy.stats import binned_statistic

from espalier.prediction import answers


def expected_calibration_error(labels: np.ndarray, logits: np.ndarray, bins: int = 15) -> float:
    """The mean distance between confidence and accuracy, over bins of equal width in the confidence.

    Source: Guo et al. (2017), "On Calibration of Modern Neural Networks", eq. 3; 15 bins, as there.

    Args:
        labels: labels (N,) of the examples.
        logits: logits (N, classes) of the model.
        bins: number of bins of the confidence between 0 and 1.

    Returns:
        The error in [0, 1]; NaN if a logit is not finite, because it gives no confidence.
    """
    if not np.isfinite(logits).all():
        return float("nan")
    confidence = np.minimum(softmax(logits.astype(float), axis=1).max(1), 1)
    gap = (answers(logits) == labels) - confidence
    sums = binned_statistic(confidence, gap, "sum", bins=bins, range=(0, 1)).statistic
    return float(np.abs(sums).sum() / len(labels))
