"""Ranges that depend little on the images: the medians over several samples, and their spread."""

from collections.abc import Mapping, Sequence

import numpy as np

from espalier.errors import BadInput
from espalier.quantization.ranges import CALIBRATIONS, Histogram

Ranges = dict[str, tuple[float, float]]


def ranges_of_each(samples: Sequence[Mapping[str, Histogram]], calibration: str) -> list[Ranges]:
    """The ranges that a calibration chooses on each sample.

    Args:
        samples: histograms of the tensors by name, for every sample of images.
        calibration: key of `CALIBRATIONS`.

    Raises:
        BadInput: if the calibration is unknown.
    """
    if calibration not in CALIBRATIONS:
        raise BadInput(
            f"Expected `calibration` to be one of {', '.join(CALIBRATIONS)}; found {calibration!r}."
        )
    choose = CALIBRATIONS[calibration]
    return [{name: choose(histogram) for name, histogram in sample.items()} for sample in samples]


def robust_ranges(each: Sequence[Ranges]) -> Ranges:
    """The median range of every tensor over the samples."""
    return {
        name: (
            float(np.median([one[name][0] for one in each])),
            float(np.median([one[name][1] for one in each])),
        )
        for name in each[0]
    }


def spread(each: Sequence[Ranges]) -> np.ndarray:
    """The spread of each tensor's range: (largest - smallest width) / median width."""
    widths = np.array([[high - low for low, high in ranges.values()] for ranges in each])
    middle = np.maximum(np.median(widths, axis=0), np.finfo(np.float32).tiny)
    differences: np.ndarray = (widths.max(axis=0) - widths.min(axis=0)) / middle
    return differences
