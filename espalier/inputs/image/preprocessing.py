"""The preprocessing that a trained image network brings along."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.settings.images import ImagePreprocessing, both_sides

_RGB = 3
_EPSILON = 1e-9  # so that a length that is whole is not rounded down
_SCALES: tuple[dict[str, Any], ...] = (
    {"range": [0, 1]},
    {"range": [0, 255]},
    {"range": [-1, 1]},
    {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},  # of ImageNet, in torchvision
    {"range": [0, 255], "mean": [123.68, 116.779, 103.939]},  # of ImageNet, in Caffe
)
_FLIPPED = {"mean": [103.939, 116.779, 123.68]}
USUAL = (
    *_SCALES,
    *({**scale, "channels": "bgr"} for scale in _SCALES[:4]),
    {**_SCALES[4], **_FLIPPED, "channels": "bgr"},
)
"""Preprocessings that networks often have, without scaling."""

SCALING = ("resize", "size", "crop", "interpolation")
"""The settings that decide on the size."""


class Preprocess(nn.Module):
    """Maps pixels (N, C, H, W) uint8 to the float32 inputs of a network with its own preprocessing.

    Scaling is linear in the pixels of each row and each column, so it is a product with two fixed
    matrices: every runtime computes it alike, and no operator for resizing is needed.

    Args:
        settings: preprocessing of the network.
        shape: channels, height and width of the stored images.

    Raises:
        BadInput: if the settings do not fit the images.

    Example:
        >>> front = Preprocess(ImagePreprocessing(channels="bgr", range=(0, 255)), (3, 1, 1))
        >>> front(torch.tensor([[[[10]], [[20]], [[30]]]], dtype=torch.uint8)).flatten().tolist()
        [30.0, 20.0, 10.0]
    """

    scale: Tensor
    shift: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, settings: ImagePreprocessing, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.order = _channel_order(settings, shape[0])
        scale, shift = _affine(settings, len(self.order))
        self.register_buffer("scale", scale[:, None, None])
        self.register_buffer("shift", shift[:, None, None])
        rows, columns = _scaling(settings, shape[1], shape[2])
        self.scaled = not (_keeps(rows) and _keeps(columns))
        if self.scaled:
            self.register_buffer("rows", rows)
            self.register_buffer("columns", columns.T.contiguous())

    def forward(self, image: Tensor) -> Tensor:
        """The inputs of the network."""
        pixels = image.float()
        if self.order != list(range(image.shape[1])):
            pixels = torch.cat([pixels[:, channel : channel + 1] for channel in self.order], dim=1)
        if self.scaled:
            # rounded after each of the two, and halves up, as pillow does
            pixels = _rounded(pixels @ self.columns)
            pixels = _rounded(self.rows @ pixels)
        return pixels * self.scale + self.shift


def channels_of(settings: dict[str, Any], stored: int) -> int:
    """The number of channels that a network with some usual preprocessing sees."""
    return len(_channel_order(ImagePreprocessing(**settings), stored))


def _keeps(matrix: Tensor) -> bool:
    """Whether a product with a matrix changes nothing; one that scales and crops may be square, too."""
    return matrix.shape[0] == matrix.shape[1] and torch.equal(matrix, torch.eye(len(matrix)))


def _rounded(pixels: Tensor) -> Tensor:
    return (pixels + 0.5).floor().clamp(0, 255)


def _channel_order(settings: ImagePreprocessing, stored: int) -> list[int]:
    """The stored channel that each channel of the network comes from."""
    is_gray = stored == 1
    if settings.channels == "gray" and not is_gray:
        raise BadInput(
            "Expected stored images to be gray for `input: {channels: gray}`; found "
            f"{stored} channels."
        )
    if is_gray:
        return [0] * _wanted_channels(settings)
    order = list(range(stored))
    if settings.channels == "bgr":
        order.reverse()
    return order


def _wanted_channels(settings: ImagePreprocessing) -> int:
    """The number of channels that gray images become."""
    if settings.channels is None:
        return max(len(settings.mean), len(settings.std))
    return 1 if settings.channels == "gray" else _RGB


def _affine(settings: ImagePreprocessing, channels: int) -> tuple[Tensor, Tensor]:
    """The factor (C,) and the summand (C,) of `(black + p / 255 * (white - black) - mean) / std`."""
    mean = _per_channel("mean", settings.mean, channels)
    std = _per_channel("std", settings.std, channels)
    black, white = settings.range
    scale = (white - black) / (255 * std)
    return scale.float(), ((black - mean) / std).float()


def _per_channel(name: str, values: Sequence[float], channels: int) -> Tensor:
    if len(values) not in (1, channels):
        raise BadInput(
            f"Expected `{name}` in `input` to have 1 or {channels} numbers, one a channel; found "
            f"{len(values)}."
        )
    return torch.tensor(values, dtype=torch.float64).expand(channels)


def _scaling(settings: ImagePreprocessing, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The matrices (new height, height) and (new width, width) that scale and crop."""
    size = _scaled_size(settings, height, width)
    cropped = both_sides(settings.crop) or size
    if cropped[0] > size[0] or cropped[1] > size[1]:
        raise BadInput(
            f"Expected `crop` in `input` to fit into images of {size[0]}x{size[1]}; found "
            f"{cropped[0]}x{cropped[1]}: `resize` or `size` scales them first."
        )
    rows = _matrix(height, size[0], settings.interpolation)
    columns = _matrix(width, size[1], settings.interpolation)
    return _middle(rows, cropped[0]), _middle(columns, cropped[1])


def _middle(matrix: Tensor, count: int) -> Tensor:
    """The middle rows of a matrix."""
    start = round((len(matrix) - count) / 2)
    return matrix[start : start + count]


def _scaled_size(settings: ImagePreprocessing, height: int, width: int) -> tuple[int, ...]:
    if settings.resize is None:
        return both_sides(settings.size) or (height, width)
    factor = settings.resize / min(height, width)
    return int(factor * height + _EPSILON), int(factor * width + _EPSILON)


def _matrix(before: int, after: int, interpolation: str) -> Tensor:
    """The matrix (after, before) of a scaling with antialiasing: the scaling of unit vectors."""
    if before == after:
        return torch.eye(before)
    units = torch.eye(before)[None, None]  # side by side: for images of width 1 torch 2.15 is wrong
    scaled = F.interpolate(
        units,
        (after, before),
        mode=interpolation,
        align_corners=False,
        antialias=True,
    )
    return scaled[0, 0]
