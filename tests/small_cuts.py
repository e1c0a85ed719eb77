"""Small networks to cut, and the losses that a reconstruction runs."""

import torch
from torch import nn

COUNT = 512


def losses_of(inputs, size: int = 128):
    """Yields a number for each batch of these inputs."""

    def losses(network):
        for part in inputs.split(size):
            yield network(part).square().mean()

    return losses


def error(network, other, inputs) -> float:
    """Mean squared difference of the outputs of two networks."""
    with torch.no_grad():
        return float((network(inputs) - other(inputs)).square().mean())


def perceptron(hidden: int = 8, *, bias: bool = True) -> nn.Sequential:
    """One layer of neurons between six inputs and three outputs."""
    return nn.Sequential(
        nn.Linear(6, hidden, bias=bias), nn.ReLU(), nn.Linear(hidden, 3, bias=bias)
    ).eval()
