"""Augmentation of images: views, each a function of its number.

View `v` of example `i` is the same image in every process and every batch. So the teacher and the
student see the same view (Beyer et al. 2022), and a teacher's outputs for a view can be kept.
"""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.seeds import generator


@dataclass(frozen=True)
class ImageAugmentations:
    """The views of a data set of images.

    Attributes:
        examples: number of images.
        crop: largest shift of a view in pixels, in each direction; uncovered pixels are black.
        flip: whether half of the views are mirrored.
        seed: seed of all views.
        count: number of different views; view `count` is view 0 again.
        crops: bounds of the random crops that the images of a view are decoded as; empty for none.
    """

    examples: int
    crop: int
    flip: bool
    seed: int
    count: int
    crops: tuple[float, ...] = ()

    @property
    def key(self) -> list[float]:
        """Everything that determines the pixels of a view, besides its number and the image."""
        return [self.crop, self.flip, self.seed, *self.crops]

    def apply(self, inputs: Tensor, index: Tensor, view: int) -> Tensor:
        """One view of some images.

        Args:
            inputs: images (N, C, H, W) uint8, on any device.
            index: indices (N,) int64 of the images in the data set, on the CPU.
            view: number of the view.

        Returns:
            Images of the same shape, type and device.
        """
        shifts, flips = _draw(self, view % self.count)
        if self.crop:
            inputs = _shift(inputs, shifts[index].to(inputs.device, non_blocking=True), self.crop)
        if self.flip:
            drawn = flips[index].to(inputs.device, non_blocking=True)
            mirrored = drawn[:, None, None, None]
            inputs = torch.where(mirrored, inputs.flip(-1), inputs)
        return inputs


@lru_cache(maxsize=2)
def _draw(views: ImageAugmentations, view: int) -> tuple[Tensor, Tensor]:
    """The shifts (examples, 2) and the flips (examples,) of a view."""
    source = generator(views.seed, "view", view)
    shifts = torch.randint(0, 2 * views.crop + 1, (views.examples, 2), generator=source)
    flips = torch.rand(views.examples, generator=source) < 0.5
    return shifts, flips


def _shift(images: Tensor, corners: Tensor, crop: int) -> Tensor:
    """Each image cut out of its padded version, at its own corner (N, 2)."""
    count, channels, height, width = images.shape
    padded = F.pad(images, (crop,) * 4)
    rows = corners[:, 0, None] + torch.arange(height, device=images.device)
    columns = corners[:, 1, None] + torch.arange(width, device=images.device)
    examples = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[:, None, None]
    # All four dimensions by index, so that the result is laid out anew: after a permutation, images
    # of one channel would pass for channels last, and the network chooses that layout.
    return padded[examples, channel, rows[:, None, :, None], columns[:, None, None, :]]
