"""A network, a DataLoader and a training loop in plain PyTorch, as anyone has them."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from espalier.data.prepared import read_split

Batches = DataLoader[tuple[Tensor, ...]]


class OwnNetwork(nn.Module):
    """A small convolutional network."""

    def __init__(self, width: int, classes: int = 10) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes) of images (N, 1, 8, 8)."""
        logits: Tensor = self.head(self.body(x).mean((2, 3)))
        return logits


def own_network(*, classes: int, shape: tuple[int, ...], width: int) -> OwnNetwork:
    """The factory with which a saved network is built again."""
    return OwnNetwork(width, classes)


def loader(prepared: Path, split: str) -> Batches:
    """Images as floats in [0, 1], and labels."""
    data = read_split(prepared, split)
    return DataLoader(TensorDataset(data.inputs / 255, data.targets), 64, shuffle=split == "train")


def train(network: nn.Module, batches: Batches, epochs: int) -> nn.Module:
    """The usual loop."""
    optimizer = torch.optim.AdamW(network.parameters(), 0.01)
    for _ in range(epochs):
        for images, labels in batches:
            loss = F.cross_entropy(network.train()(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def accuracy(network: nn.Module, batches: Batches) -> float:
    """The fraction of right answers."""
    right = [network(images).argmax(1) == labels for images, labels in batches]
    return float(torch.cat(right).double().mean())
