"""The front of image networks: normalisation of each channel."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """Maps pixels (N, C, H, W) uint8 to float32 with mean 0 and standard deviation 1 per channel.

    Args:
        mean: mean of each channel, for pixels in [0, 1].
        std: standard deviation of each channel, likewise.

    Example:
        >>> Normalize([0.5], [0.25])(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
        tensor([[[[-2., 2.]]]])
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        scale = [1 / (255 * deviation) for deviation in std]
        shift = [-m / deviation for m, deviation in zip(mean, std, strict=True)]
        self.register_buffer("scale", torch.tensor(scale)[:, None, None])
        self.register_buffer("shift", torch.tensor(shift)[:, None, None])

    def forward(self, image: Tensor) -> Tensor:
        """The normalised pixels."""
        return image.float() * self.scale + self.shift
