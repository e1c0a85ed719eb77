"""Encoded clips as samples."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.errors import reason_of
from espalier.optional import optional_library

ENDINGS = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
_FULL = 32767  # largest sample
_AT_ONCE = 2**16  # samples
_FLOATING = ("FLOAT", "DOUBLE")  # kinds of samples of a file


@dataclass(frozen=True)
class Clip:
    """A clip.

    Attributes:
        samples: samples (count,) int16.
        rate: samples per second.
    """

    samples: NDArray[np.int16]
    rate: int


def decode(content: bytes) -> Clip:
    """The samples of an encoded clip, averaged over its channels.

    Raises:
        BadInput: if soundfile is not installed.
        ValueError: if the clip is damaged, of an unknown format, or empty.
    """
    soundfile = optional_library("soundfile", "clips")
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            # read as integers, samples in floating point would not be scaled, and be silence
            kind = "float32" if file.subtype in _FLOATING else "int16"
            samples, rate = file.read(dtype=kind, always_2d=True), file.samplerate
    except (RuntimeError, OverflowError) as error:
        raise ValueError(reason_of(error)) from None
    if not len(samples):
        raise ValueError("no samples")
    if kind == "float32":
        samples = _scaled(samples)
    return Clip(_mono(samples), int(rate))


def _scaled(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples in [-1, 1] as integers; louder ones are cut off, as players do.

    Raises:
        ValueError: if a sample is not finite.
    """
    if not np.isfinite(samples).all():
        raise ValueError("samples that are not finite")
    scaled: NDArray[np.int16] = np.round(samples * _FULL).clip(-_FULL - 1, _FULL).astype(np.int16)
    return scaled


def _mono(samples: NDArray[np.int16]) -> NDArray[np.int16]:
    """The mean (count,) of the channels of samples (count, channels), some at a time to save memory."""
    if samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, 0])
    mono = np.empty(len(samples), np.int16)
    for start in range(0, len(samples), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        mono[part] = np.round(samples[part].mean(1))
    return mono


def resample(clip: Clip, rate: int) -> NDArray[np.int16]:
    """The samples of a clip at another rate, by band-limited interpolation.

    Raises:
        BadInput: if soxr is not installed.
    """
    values = optional_library("soxr", "clips of other rates").resample(
        clip.samples.astype(np.float32), clip.rate, rate
    )
    samples: NDArray[np.int16] = np.round(values).clip(-_FULL - 1, _FULL).astype(np.int16)
    return samples
