"""Audio: clips (N, samples) int16 of one rate and length."""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from espalier.decoders.clips import ENDINGS, Clip, decode, resample
from espalier.errors import BadInput
from espalier.inputs.audio.augmentations import AudioAugmentations
from espalier.inputs.audio.front import LogMel, Spectrogram
from espalier.inputs.plain import PlainInput
from espalier.settings.audio import AudioPolicy

_AT_ONCE = 256  # clips whose spectrograms are computed at once
_HEIGHT = 64  # pixels of the picture of a clip


@dataclass(frozen=True)
class AudioFacts:
    """Facts of clips in `dataset.json`.

    Attributes:
        rate: samples per second.
        mels: number of frequency bands.
        window: samples of a window.
        hop: samples between two windows.
        log_mean: mean of the log-mel spectrogram over the train split.
        log_std: its standard deviation.
        shift: largest shift of a training clip, in samples.
        gain: largest change of its loudness, in decibels.
    """

    rate: int
    mels: int
    window: int
    hop: int
    log_mean: float
    log_std: float
    shift: int
    gain: float

    @property
    def spectrogram(self) -> Spectrogram:
        """The settings of the spectrogram."""
        return Spectrogram(self.rate, self.mels, self.window, self.hop)


class AudioInput(PlainInput):
    """The kind `audio`."""

    name = "audio"
    plural = "clips"
    dtype = torch.int16
    facts_type = AudioFacts

    def decode(self, content: bytes) -> Clip:
        """The samples of an encoded clip, averaged over its channels.

        Raises:
            ValueError: if it is damaged, or of an unknown format.
        """
        return decode(content)

    def digest(self, example: Clip) -> str:
        """SHA-256 of the samples and their rate."""
        return hashlib.sha256(f"{example.rate}:".encode() + example.samples.tobytes()).hexdigest()

    def store(
        self, examples: Sequence[Clip], train: NDArray[np.int64], **options: Any
    ) -> tuple[NDArray[np.int16], AudioFacts]:
        """The clips (N, samples) of one rate and length, and the facts of the train split.

        Args:
            examples: all clips.
            train: rows of the train split.
            options: `policy`, the settings, and `remark`, a function that is called with a sentence
                about each clip that was changed.
        """
        policy: AudioPolicy = options["policy"]
        remark: Callable[[str], None] = options["remark"]
        rate = policy.rate or Counter(clip.rate for clip in examples).most_common(1)[0][0]
        clips = [_at_rate(clip, rate, remark) for clip in examples]
        longest = max(len(clip) for clip in clips)
        length = round(policy.seconds * rate) if policy.seconds else longest
        stored = np.zeros((len(clips), length), np.int16)
        for row, clip in enumerate(clips):
            kept = clip[:length]
            stored[row, : len(kept)] = kept
            if len(kept) < len(clip):
                remark(f"cut to {length / rate:.2f} s")
        window = max(2, round(policy.window * rate))
        if window > length:
            raise BadInput(
                f"Expected clips of at least a window, {policy.window} s; found {length / rate:g} s. "
                "`data.audio.window` in params.yaml shortens the window."
            )
        spectrogram = Spectrogram(rate, policy.mels, window, max(1, round(policy.hop * rate)))
        mean, std = _statistics(stored, train, spectrogram)
        shift = round(policy.shift * rate)
        return stored, AudioFacts(
            rate, policy.mels, window, spectrogram.hop, mean, std, shift, policy.gain
        )

    def describe(self, shape: tuple[int, ...], facts: AudioFacts) -> str:
        """The form of an example, such as `0.66 s at 8 kHz`."""
        return f"{shape[0] / facts.rate:.2f} s at {facts.rate / 1000:g} kHz"

    def front(self, facts: AudioFacts) -> LogMel:
        """The log-mel spectrogram."""
        return LogMel(facts.spectrogram, facts.log_mean, facts.log_std)

    def augmentations(
        self, facts: AudioFacts, *, examples: int, seed: int, count: int, active: bool
    ) -> AudioAugmentations:
        """Views that are shifted in time and louder or softer."""
        shift, gain = (facts.shift, facts.gain) if active else (0, 0.0)
        return AudioAugmentations(examples, shift, gain, seed, count)

    def display(self, example: NDArray[np.int16], facts: AudioFacts) -> Image.Image:
        """The spectrogram of a clip, from low frequencies above to high ones, as networks see it."""
        with torch.no_grad():
            bands = self.front(facts)(torch.from_numpy(example.copy())[None])[0, 0].numpy()
        low, high = float(bands.min()), float(bands.max())
        gray = ((bands - low) / max(high - low, 1e-6) * 255).astype(np.uint8)
        picture = Image.fromarray(np.ascontiguousarray(gray))
        return picture.resize((max(1, _HEIGHT * gray.shape[1] // gray.shape[0]), _HEIGHT))


def _at_rate(clip: Clip, rate: int, remark: Callable[[str], None]) -> NDArray[np.int16]:
    if clip.rate == rate:
        return clip.samples
    remark(f"resampled from {clip.rate} to {rate} samples per second")
    return resample(clip, rate)


def _statistics(
    stored: NDArray[np.int16], train: NDArray[np.int64], spectrogram: Spectrogram
) -> tuple[float, float]:
    """Mean and standard deviation of the log-mel spectrogram of some clips."""
    front = LogMel(spectrogram, 0.0, 1.0)
    total = 0.0
    squares = 0.0
    count = 0
    with torch.no_grad():
        for start in range(0, len(train), _AT_ONCE):
            clips = torch.from_numpy(stored[train[start : start + _AT_ONCE]])
            bands = front(clips).double()
            total += float(bands.sum())
            squares += float(bands.square().sum())
            count += bands.numel()
    mean = total / count
    return mean, max(squares / count - mean**2, 0.0) ** 0.5 or 1.0


__all__ = ["ENDINGS", "AudioFacts", "AudioInput", "Clip", "LogMel", "Spectrogram", "decode"]
