"""A tiny network in which every operation finds something to do: the user's package `user_package` of some tests."""

import torch
from torch import Tensor, nn
from torchvision.models.vision_transformer import EncoderBlock

from espalier.models.resnet import BasicBlock


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
