"""Mean and standard deviation of pixels."""

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4096  # images that are read at once

PerChannel = tuple[float, ...]


def channel_statistics(
    images: NDArray[np.uint8], rows: NDArray[np.int64]
) -> tuple[PerChannel, PerChannel]:
    """Mean and standard deviation of each channel, for pixels in [0, 1].

    They are computed from exact counts of the 256 values, so they do not depend on the order of
    the images. The deviation of a constant channel is 1.

    Args:
        images: images (N, C, H, W), perhaps mapped from disk.
        rows: the images to use.
    """
    counts = _count_values(images, rows)
    values = np.arange(256)
    total = counts.sum(axis=1)
    mean = (counts @ values) / total
    variance = (counts @ values**2) / total - mean**2
    std = np.where(variance > 0, np.sqrt(np.maximum(variance, 0)), 255.0)
    return _fractions(mean), _fractions(std)


def _fractions(values: NDArray[np.float64]) -> PerChannel:
    """Values of pixels as fractions of 255."""
    return tuple(float(value / 255) for value in values)


def _count_values(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The count of each value in each channel (C, 256)."""
    channels = images.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    for start in range(0, len(rows), _CHUNK):
        chunk = images[rows[start : start + _CHUNK]]
        for channel in range(channels):
            counts[channel] += np.bincount(chunk[:, channel].ravel(), minlength=256)
    return counts
