"""Settings of audio."""

from dataclasses import dataclass
from typing import Any, ClassVar

from espalier.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class AudioPolicy:
    """The form that clips are brought into, and the spectrogram that networks see.

    Attributes:
        rate: samples per second; None takes the rate of most clips. Others are resampled.
        seconds: length of all clips: longer ones are cut, shorter ones end in silence; None takes
            the longest clip.
        mels: number of frequency bands.
        window: length of a window of the spectrogram in seconds.
        hop: distance of two windows in seconds.
        shift: largest shift of a training clip in time, in seconds.
        gain: largest change of the loudness of a training clip, in decibels.
    """

    rate: int | None = None
    seconds: float | None = None
    mels: int = 40
    window: float = 0.025
    hop: float = 0.01
    shift: float = 0.05
    gain: float = 6.0

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    def __post_init__(self) -> None:
        """Refuse lengths and numbers of nothing.

        Raises:
            BadInput: if one is not above 0, or an augmentation is below 0.
        """
        positive = {"mels": self.mels, "window": self.window, "hop": self.hop}
        given = {"rate": self.rate, "seconds": self.seconds}
        positive |= {name: value for name, value in given.items() if value is not None}
        for name, value in positive.items():
            if value <= 0:
                raise BadInput(f"Expected `data.audio.{name}` to be above 0; found {value}.")
        for name, value in {"shift": self.shift, "gain": self.gain}.items():
            if value < 0:
                raise BadInput(f"Expected `data.audio.{name}` to be at least 0; found {value}.")
