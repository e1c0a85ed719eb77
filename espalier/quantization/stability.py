"""Stability: how much ranges and scores depend on the calibration images."""

from collections.abc import Callable

import numpy as np
import onnx

from espalier.quantization.robust import spread
from espalier.quantization.static import Observed, insert


def stability(
    observed: Observed,
    calibration: str,
    judge: Callable[[onnx.ModelProto], float],
    *,
    per_channel: bool = True,
    reduce_range: bool = True,
) -> dict[str, float]:
    """Quantize with the ranges of each sample and compare the scores.

    Args:
        observed: file with several samples.
        calibration: key of `CALIBRATIONS`.
        judge: computes the mean score of a quantized file.
        per_channel: as in `quantize`.
        reduce_range: as in `quantize`.

    Returns:
        The number of samples; the spread of the median tensor and of the worst, as in `spread`; the
        lowest, highest and mean score, and their standard deviation.
    """
    each = observed.each(calibration)
    differences = spread(each)
    models = (
        insert(observed.model, one, per_channel=per_channel, reduce_range=reduce_range)
        for one in each
    )
    scores = np.array([judge(model) for model in models])
    return {
        "resamples": len(each),
        "threshold_spread": float(np.median(differences)),
        "threshold_spread_worst": float(differences.max()),
        "resampled_accuracy_lowest": float(scores.min()),
        "resampled_accuracy_highest": float(scores.max()),
        "resampled_accuracy_mean": float(scores.mean()),
        "resampled_accuracy_deviation": float(scores.std(ddof=1)),
    }
