"""Images: 8-bit pixels (C, H, W), gray or RGB, all of one shape."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

from espalier.decoders.images import FORMATS, decode, encode
from espalier.inputs.image.augmentations import ImageAugmentations
from espalier.inputs.image.front import Normalize
from espalier.inputs.image.preprocessing import SCALING, USUAL, Preprocess, channels_of
from espalier.inputs.image.statistics import channel_statistics
from espalier.inputs.image.views import ImageDecoder, RandomCrops
from espalier.settings.images import ImagePolicy, ImagePreprocessing

_SETTINGS = TypeAdapter(ImagePreprocessing)


@dataclass(frozen=True)
class ImageFacts:
    """Facts of images in `dataset.json`.

    Attributes:
        mean: mean of each channel over the train split, for pixels in [0, 1].
        std: standard deviation of each channel over the same pixels; 1 for a constant channel.
        crop: largest shift of a training image, in pixels.
        flip: whether training images may be mirrored.
        decoding: form into which images of train are decoded at each use; None if pixels are stored.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: int
    flip: bool
    decoding: ImagePolicy | None = None

    def decoder(self, shape: tuple[int, ...], seed: int | None) -> ImageDecoder | None:
        """The decoder of the images of train; None if their pixels are stored.

        Args:
            shape: shape of every stored image: channels, height, width.
            seed: seed of the crops; None for whole images in all views.
        """
        policy = self.decoding
        if policy is None:
            return None
        crops = None if seed is None else RandomCrops(seed, policy.crop_scale, policy.crop_ratio)
        return ImageDecoder(policy, (shape[1], shape[2]), crops)


class ImageInput:
    """The kind `image`."""

    name = "image"
    plural = "images"
    dtype = torch.uint8
    facts_type = ImageFacts

    def decode(self, content: bytes) -> NDArray[np.uint8]:
        """The pixels (C, H, W) of an encoded image.

        Raises:
            ValueError: if it is damaged, or not 8-bit gray or RGB.
        """
        return decode(content)

    def digest(self, example: NDArray[np.uint8]) -> str:
        """SHA-256 of the pixels."""
        return hashlib.sha256(example.tobytes()).hexdigest()

    def store(
        self, examples: NDArray[np.uint8], train: NDArray[np.int64], **options: Any
    ) -> tuple[NDArray[np.uint8], ImageFacts]:
        """The images as they are, and their facts.

        Args:
            examples: images (N, C, H, W) of all splits.
            train: rows of the train split.
            options: `crop`, `flip` and `decoding`.
        """
        mean, std = channel_statistics(examples, train)
        return examples, ImageFacts(mean, std, **options)

    def describe(self, shape: tuple[int, ...], facts: ImageFacts) -> str:
        """Channels, height and width, such as `3x32x32`."""
        del facts
        return "x".join(map(str, shape))

    def front(self, facts: ImageFacts) -> Normalize:
        """The normalisation."""
        return Normalize(facts.mean, facts.std)

    def network_arguments(self, facts: ImageFacts) -> dict[str, Any]:
        """None."""
        del facts
        return {}

    def model_files(self, shape: tuple[int, ...], facts: ImageFacts) -> dict[str, Any]:
        """None."""
        del shape, facts
        return {}

    def own_front(self, preprocessing: dict[str, Any], shape: tuple[int, ...]) -> Preprocess:
        """The preprocessing that a network brings along.

        Raises:
            BadInput: if the settings are not those of `ImagePreprocessing`, or do not fit the images.
        """
        return Preprocess(_SETTINGS.validate_python(preprocessing), shape)

    def usual_preprocessings(
        self, preprocessing: dict[str, Any] | None, shape: tuple[int, ...]
    ) -> list[dict[str, Any]]:
        """The usual ranges, normalisations and orders of colours, with the same scaling."""
        own = preprocessing or {}
        scaling = {key: own[key] for key in SCALING if own.get(key) is not None}
        usual = [{**scaling, **settings} for settings in USUAL]
        channels = channels_of(own, shape[0]) if own else shape[0]
        return [one for one in usual if channels_of(one, shape[0]) == channels]

    def augmentations(
        self, facts: ImageFacts, *, examples: int, seed: int, count: int, active: bool
    ) -> ImageAugmentations:
        """Shifted and mirrored views, as far as the facts of the data set allow them.

        Crops of images that are decoded at each use are made by their decoder.
        """
        crop, flip = (facts.crop, facts.flip) if active else (0, False)
        policy = facts.decoding if active else None
        crops = (*policy.crop_scale, *policy.crop_ratio) if policy else ()
        return ImageAugmentations(examples, crop, flip, seed, count, crops)

    def parts(self, example: NDArray[np.uint8], facts: ImageFacts) -> list[str]:
        """None: an image is a picture."""
        del example, facts
        return []

    def without(self, inputs: Tensor, part: int, facts: ImageFacts) -> Tensor:
        """The images themselves."""
        del part, facts
        return inputs

    def display(self, example: NDArray[np.uint8], facts: ImageFacts) -> Image.Image:
        """The image itself; grey unless it has three channels."""
        del facts
        colour = len(example) == 3
        return Image.fromarray(example.transpose(1, 2, 0) if colour else example[0])


__all__ = [
    "FORMATS",
    "ImageAugmentations",
    "ImageDecoder",
    "ImageFacts",
    "ImageInput",
    "Normalize",
    "Preprocess",
    "RandomCrops",
    "channel_statistics",
    "decode",
    "encode",
]
