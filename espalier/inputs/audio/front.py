"""The front of networks on clips: the log-mel spectrogram."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_FULL = 32768.0  # of a sample
_FLOOR = 1e-6  # added to the energy of a band: silence is -13.8


@dataclass(frozen=True)
class Spectrogram:
    """The settings of a spectrogram.

    Attributes:
        rate: samples per second.
        mels: number of frequency bands.
        window: samples of a window.
        hop: samples between two windows.
    """

    rate: int
    mels: int
    window: int
    hop: int


class LogMel(nn.Module):
    """Maps clips (N, samples) int16 to log-mel spectrograms (N, 1, mels, frames) float32.

    The Fourier transform of windows is a convolution with cosines and sines. They are computed from
    integers in the forward pass, so that the deployed file has their formula and not their values;
    a runtime computes them once, when it opens the file.

    Args:
        spectrogram: settings of the spectrogram.
        mean: number that is subtracted from the logarithms.
        std: number by which they are divided after that.
    """

    places: Tensor
    bins: Tensor
    rising: Tensor
    falling: Tensor

    def __init__(self, spectrogram: Spectrogram, mean: float, std: float) -> None:
        super().__init__()
        self._spectrogram, self._mean, self._std = spectrogram, mean, std
        edges = _edges(spectrogram)
        bins = torch.arange(spectrogram.window // 2 + 1.0)
        self.register_buffer("places", torch.arange(float(spectrogram.window)))
        self.register_buffer("bins", torch.stack([bins, torch.ones_like(bins)]))
        self.register_buffer("rising", _line(edges[:-2], edges[1:-1]))
        self.register_buffer("falling", _line(edges[2:], edges[1:-1]))

    def forward(self, clips: Tensor) -> Tensor:
        """The spectrograms."""
        settings = self._spectrogram
        samples = clips.float()[:, None] / _FULL
        waves = F.conv1d(samples, self._waves(), stride=settings.hop)
        real, imaginary = waves.chunk(2, 1)
        energy = real.square() + imaginary.square()
        bands = torch.matmul(self._filters(), energy)
        logarithms = torch.log(bands + _FLOOR)
        return ((logarithms - self._mean) / self._std)[:, None]

    def _waves(self) -> Tensor:
        """Cosines, then sines, of every frequency under a Hann window: (2 * bins, 1, window)."""
        count = self._spectrogram.window
        # a matrix product, because the exporter would store the values of any other product
        turns = torch.matmul(self.bins[:1].T, self.places[None])
        # whole turns are left out before the cosine: large angles have few digits
        angles = (turns - torch.floor(turns / count) * count) * (2 * math.pi / count)
        hann = 0.5 - 0.5 * torch.cos(self.places * (2 * math.pi / count))
        return torch.cat([torch.cos(angles) * hann, torch.sin(angles) * hann])[:, None]

    def _filters(self) -> Tensor:
        """Triangles (mels, bins): each rises from the edge below its own to it, and falls to the next."""
        rising, falling = (
            torch.matmul(self.rising, self.bins),
            torch.matmul(self.falling, self.bins),
        )
        return torch.minimum(rising, falling).clamp(min=0)


def _line(zero: Tensor, one: Tensor) -> Tensor:
    """Slope and offset (count, 2) of the lines that are 0 at one place and 1 at another."""
    slope = 1 / (one - zero)
    return torch.stack([slope, -zero * slope], 1).float()


def _edges(settings: Spectrogram) -> Tensor:
    """The edges (mels + 2,) of the bands in bins, evenly spaced on the mel scale.

    Source: the scale of O'Shaughnessy (1987), as HTK uses it: 2595 log10(1 + f / 700).
    """
    highest = 2595 * math.log10(1 + settings.rate / 2 / 700)
    mels = torch.linspace(0, highest, settings.mels + 2, dtype=torch.float64)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    bins = hertz * settings.window / settings.rate
    # a band narrower than a bin would have no bin: edges are at least one bin apart
    for place in range(1, len(bins)):
        bins[place] = torch.maximum(bins[place], bins[place - 1] + 1)
    return bins
