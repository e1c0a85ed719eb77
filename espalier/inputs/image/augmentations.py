"""Augmented versions of a data set, each a function of its number.

View `v` of example `i` is always the same picture, whoever asks and in whatever batch, so that teacher and student
see the same one (Beyer et al. 2022) and a teacher's answers to a view can be kept.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.training.seeds import generator

Look = Callable[[Tensor], Tensor]
"""Turns pixels (N, C, H, W) uint8 into what a network sees, float32."""


@dataclass(frozen=True)
class Augmentations:
    """How the views of a data set of `examples` images come about.

    Attributes:
        examples: How many images there are.
        crop: The most pixels by which a view is shifted, in each direction; what enters is black.
        flip: Whether half of the views are mirrored.
        seed: Of all of them.
        count: How many different views there are; view `count` is view 0 again.
    """

    examples: int
    crop: int
    flip: bool
    seed: int
    count: int

    def apply(self, images: Tensor, index: Tensor, view: int) -> Tensor:
        """Look at some images in one view.

        Args:
            images: (N, C, H, W) uint8, on any device.
            index: (N,) int64: which examples they are; on the processor.
            view: The number of the view.

        Returns:
            Images of the same shape, type and device.
        """
        shifts, flips = _draw(self, view % self.count)
        if self.crop:
            images = _shift(images, shifts[index].to(images.device), self.crop)
        if self.flip:
            mirrored = flips[index].to(images.device)[:, None, None, None]
            images = torch.where(mirrored, images.flip(-1), images)
        return images


@lru_cache(maxsize=2)
def _draw(views: Augmentations, view: int) -> tuple[Tensor, Tensor]:
    source = generator(views.seed, "view", view)
    shifts = torch.randint(0, 2 * views.crop + 1, (views.examples, 2), generator=source)
    flips = torch.rand(views.examples, generator=source) < 0.5
    return shifts, flips


def _shift(images: Tensor, corners: Tensor, crop: int) -> Tensor:
    count, channels, height, width = images.shape
    padded = F.pad(images, (crop,) * 4)
    rows = corners[:, 0, None] + torch.arange(height, device=images.device)
    columns = corners[:, 1, None] + torch.arange(width, device=images.device)
    examples = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[:, None, None]
    # all four by index, so that the result is laid out anew: after a permutation, images of one channel would pass for
    # channels last, and that layout is the network's to choose
    return padded[examples, channel, rows[:, None, :, None], columns[:, None, None, :]]


def normaliser(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> Look:
    """What turns pixels into zero mean and unit deviation per channel; both are given for pixels in [0, 1]."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=device)[:, None, None]
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)[
        :, None, None
    ]

    def look(images: Tensor) -> Tensor:
        return images * scale + shift

    return look
