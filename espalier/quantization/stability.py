"""How much thresholds, and what they cost, hang on which images were looked at."""

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
    """Quantize with the thresholds of every sample by itself, and compare.

    Args:
        observed: A file with several samples.
        calibration: A key of `CALIBRATIONS`.
        judge: The accuracy of a quantized file.
        per_channel: As in `quantize`.
        reduce_range: Likewise.

    Returns:
        The number of samples; the spread of a tensor's range, (largest - smallest width) / median width, of the
        median tensor and of the worst; the lowest, highest and mean accuracy, and its standard deviation.
    """
    each = observed.each(calibration)
    differences = spread(each)
    models = (
        insert(observed.model, one, per_channel=per_channel, reduce_range=reduce_range)
        for one in each
    )
    accuracies = np.array([judge(model) for model in models])
    return {
        "resamples": len(each),
        "threshold_spread": float(np.median(differences)),
        "threshold_spread_worst": float(differences.max()),
        "resampled_accuracy_lowest": float(accuracies.min()),
        "resampled_accuracy_highest": float(accuracies.max()),
        "resampled_accuracy_mean": float(accuracies.mean()),
        "resampled_accuracy_deviation": float(accuracies.std(ddof=1)),
    }
