"""Thresholds that do not hang on which images were looked at: chosen on several samples, and their spread told."""

from collections.abc import Mapping, Sequence

import numpy as np

from espalier.errors import BadInput
from espalier.quantization.ranges import CALIBRATIONS, Histogram

Ranges = dict[str, tuple[float, float]]


def ranges_of_each(samples: Sequence[Mapping[str, Histogram]], calibration: str) -> list[Ranges]:
    """What a calibration chooses on each sample by itself.

    Args:
        samples: A histogram of each tensor by its name, for every sample of images.
        calibration: A key of `CALIBRATIONS`.

    Raises:
        BadInput: If the calibration is unknown.
    """
    if calibration not in CALIBRATIONS:
        raise BadInput(
            f"Expected `calibration` to be one of {', '.join(CALIBRATIONS)}; found {calibration!r}."
        )
    choose = CALIBRATIONS[calibration]
    return [{name: choose(histogram) for name, histogram in sample.items()} for sample in samples]


def robust_ranges(each: Sequence[Ranges]) -> Ranges:
    """The range of every tensor: the median over the samples of what was chosen on each."""
    return {
        name: (
            float(np.median([one[name][0] for one in each])),
            float(np.median([one[name][1] for one in each])),
        )
        for name in each[0]
    }


def spread(each: Sequence[Ranges]) -> np.ndarray:
    """How much the range of every tensor differs between samples: (largest - smallest width) / median width."""
    widths = np.array([[high - low for low, high in ranges.values()] for ranges in each])
    middle = np.maximum(np.median(widths, axis=0), np.finfo(np.float32).tiny)
    differences: np.ndarray = (widths.max(axis=0) - widths.min(axis=0)) / middle
    return differences
