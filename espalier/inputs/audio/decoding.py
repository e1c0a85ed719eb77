"""Encoded clips as samples."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.bounded import bounded
from espalier.errors import reason_of
from espalier.optional import optional_library
from espalier.settings.limits import decoding_memory

ENDINGS = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})
_FULL = 32767  # largest sample


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
        with bounded("the clip", decoding_memory(len(content))):  # its header may lie
            samples, rate = soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)
    except (RuntimeError, OverflowError) as error:
        raise ValueError(reason_of(error)) from None
    if not len(samples):
        raise ValueError("no samples")
    mono = samples[:, 0] if samples.shape[1] == 1 else np.round(samples.mean(1)).astype(np.int16)
    return Clip(np.ascontiguousarray(mono), int(rate))


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
