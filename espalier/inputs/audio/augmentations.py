"""Augmentation of clips: views, each a function of its number."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from espalier.seeds import generator

_LIMITS = (-32768, 32767)  # of samples


@dataclass(frozen=True)
class AudioAugmentations:
    """The views of a data set of clips.

    Attributes:
        examples: number of clips.
        shift: largest shift of a view in samples, in each direction; silence fills the gap.
        gain: largest change of its loudness in decibels, in each direction.
        seed: seed of all views.
        count: number of different views; view `count` is view 0 again.
    """

    examples: int
    shift: int
    gain: float
    seed: int
    count: int

    @property
    def key(self) -> list[int]:
        """Everything that determines the samples of a view, besides its number and the clip."""
        return [self.shift, round(1000 * self.gain), self.seed]

    def apply(self, inputs: Tensor, index: Tensor, view: int) -> Tensor:
        """One view of some clips (N, samples) int16, which are at indices (N,) of the data set."""
        shifts, factors = _draw(self, view % self.count)
        if self.shift:
            inputs = _shifted(inputs, shifts[index].to(inputs.device, non_blocking=True))
        if self.gain:
            drawn = factors[index].to(inputs.device, non_blocking=True)
            louder = inputs.float() * drawn[:, None]
            inputs = louder.round().clamp(*_LIMITS).to(inputs.dtype)
        return inputs


@lru_cache(maxsize=2)
def _draw(views: AudioAugmentations, view: int) -> tuple[Tensor, Tensor]:
    """The shifts (examples,) and the factors (examples,) of a view."""
    source = generator(views.seed, "view", view)
    shifts = torch.randint(-views.shift, views.shift + 1, (views.examples,), generator=source)
    decibels = (2 * torch.rand(views.examples, generator=source) - 1) * views.gain
    return shifts, 10 ** (decibels / 20)


def _shifted(clips: Tensor, shifts: Tensor) -> Tensor:
    """Each clip (N, samples) moved by its own number of samples."""
    places = torch.arange(clips.shape[1], device=clips.device) - shifts[:, None]
    inside = (places >= 0) & (places < clips.shape[1])
    moved = clips.gather(1, places.clamp(0, clips.shape[1] - 1))
    return torch.where(inside, moved, torch.zeros_like(moved))
