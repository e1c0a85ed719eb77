"""Decoding of one image at a time: whole, by the size policy, or a random crop of it."""

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from espalier.decoders.images import Box, decode, decode_crop
from espalier.seeds import generator
from espalier.settings.images import ImagePolicy

_ATTEMPTS = 10


@dataclass(frozen=True)
class RandomCrops:
    """Random boxes of random area and proportions (Szegedy et al. 2015, section 6).

    A box is a function of the seed, the view and the image's index alone, so it is the same in every
    process, and after every interruption. As in torchvision's `RandomResizedCrop`, a draw that does
    not fit is repeated; after ten, the box is the largest in the centre within the proportions.

    Attributes:
        seed: seed of all views.
        scale: least and largest area as fractions of the image's area.
        ratio: least and largest width as fractions of the height.
    """

    seed: int
    scale: tuple[float, float]
    ratio: tuple[float, float]

    def box(self, height: int, width: int, *, view: int, index: int) -> Box:
        """The top, the left, the height and the width of a box in pixels.

        Args:
            height: height of the image in pixels.
            width: width of the image in pixels.
            view: number of the view.
            index: index of the image in the split.
        """
        least, largest = map(math.log, self.ratio)
        for area, shape, down, right in self._draws(view, index):
            pixels = height * width * _between(*self.scale, area)
            ratio = math.exp(_between(least, largest, shape))
            rows = round(math.sqrt(pixels / ratio))
            columns = round(math.sqrt(pixels * ratio))
            if 0 < rows <= height and 0 < columns <= width:
                top = int(down * (height - rows + 1))
                left = int(right * (width - columns + 1))
                return top, left, rows, columns
        return self._central(height, width)

    def _draws(self, view: int, index: int) -> list[list[float]]:
        """Four numbers in [0, 1) for each attempt."""
        source = generator(self.seed, "crop", view, index)
        drawn: list[list[float]] = torch.rand(_ATTEMPTS, 4, generator=source).tolist()
        return drawn

    def _central(self, height: int, width: int) -> Box:
        rows = min(height, round(width / self.ratio[0]))
        columns = min(width, round(height * self.ratio[1]))
        return (height - rows) // 2, (width - columns) // 2, rows, columns


@dataclass(frozen=True)
class ImageDecoder:
    """Decodes stored images.

    Attributes:
        policy: form of an image that is decoded whole.
        size: height and width of a crop after scaling.
        crops: boxes of the views; None if each view is the whole image.
    """

    policy: ImagePolicy
    size: tuple[int, int]
    crops: RandomCrops | None = None

    def __call__(self, content: bytes, index: int, view: int | None) -> NDArray[np.uint8]:
        """The pixels (C, H, W) of an image in a view; None for the whole image.

        Raises:
            ValueError: if it is damaged.
        """
        if view is None or self.crops is None:
            return decode(content, self.policy)
        box = partial(self.crops.box, view=view, index=index)
        return decode_crop(content, self.policy, box, self.size)


def _between(low: float, high: float, fraction: float) -> float:
    return low + (high - low) * fraction
