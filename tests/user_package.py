"""A tiny network in which every operation finds something to do: the user's package `user_package` of some tests."""

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock

from espalier.models.resnet import BasicBlock
from espalier.pruning.groups import Groups


class Everything(nn.Module):
    """Norms behind convolutions, residual blocks of one shape, attention with four heads, and two linear layers."""

    def __init__(self, classes: int, channels: int, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, width, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(BasicBlock(width, width, 1) for _ in range(3)))
        self.attention = EncoderBlock(4, width, 2 * width, 0.0, 0.0)
        self.widen = nn.Linear(width, 2 * width)
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.norm(self.stem(x))))
        tokens = self.attention(x.flatten(2).transpose(1, 2))
        logits: Tensor = self.head(self.widen(tokens.mean(1)))
        return logits


def everything(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    return Everything(classes, shape[0])


class _Residual(nn.Module):
    """Two linear layers beside a residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.expand, self.contract = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.contract(torch.relu(self.expand(x)))


class EverythingOfTexts(nn.Module):
    """The same on tokens: an embedding, a norm behind a convolution, blocks, attention, and two linear layers."""

    def __init__(self, classes: int, vocabulary: int, width: int = 8) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.stem = nn.Conv1d(width, 2 * width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm1d(2 * width)
        self.blocks = nn.Sequential(*(_Residual(2 * width) for _ in range(3)))
        self.attention = EncoderBlock(4, 2 * width, 2 * width, 0.0, 0.0)
        self.widen = nn.Linear(2 * width, 3 * width)
        self.head = nn.Linear(3 * width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens).transpose(1, 2)
        x = self.blocks(torch.relu(self.norm(self.stem(x))).transpose(1, 2))
        logits: Tensor = self.head(self.widen(self.attention(x).mean(1)))
        return logits


def everything_of_texts(*, classes: int, shape: tuple[int, ...], vocabulary: int) -> nn.Module:
    return EverythingOfTexts(classes, vocabulary)


def first_channels(network: nn.Module, groups: Groups, losses: object) -> np.ndarray:
    """A score of the user: channels in their order, the first the least important."""
    return np.arange(groups.count, dtype=float)


def absolute_error(
    student: Tensor, teacher: Tensor, *, weights: Tensor | None = None, factor: float = 1.0
) -> Tensor:
    """A loss of the user: the mean absolute difference of the logits."""
    return factor * (student - teacher).abs().mean()


class Answers(nn.Module):
    """A classifier of a width of its own, in one of several shapes."""

    def __init__(self, width: int, shape: str) -> None:
        super().__init__()
        self.head, self.shape = nn.LazyLinear(width), shape

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(x.flatten(1))
        return logits[:, 0] if self.shape == "flat" else logits


class Uneven(nn.Module):
    """A pooling to sides that do not divide those of the image, which no ONNX operator does."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(9, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(nn.functional.adaptive_avg_pool2d(x, 3).flatten(1))
        return logits


def answers(
    *, classes: int, shape: tuple[int, int, int], width: int = 0, form: str = "rows"
) -> nn.Module:
    network = Answers(width or classes, form)
    network(torch.zeros(2, *shape))
    return network


def uneven(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    return Uneven(classes)


def failing(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3, classes))
