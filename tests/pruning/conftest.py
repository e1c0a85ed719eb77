"""Fixtures for the tests of pruning."""

import pytest
import torch
from torch.nn import functional as F

from espalier.data.prepared import read_dataset, read_split
from espalier.models import build

SHAPE = (1, 8, 8)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def trained(digits):
    """Five small networks that know the digits, with training and validation images as they see them, and labels."""
    dataset = read_dataset(digits)
    front = dataset.front(torch.device("cpu"))
    train, validation = read_split(digits, "train"), read_split(digits, "validation")
    networks = []
    for seed in range(5):
        torch.manual_seed(seed)
        network = build(
            "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": 8}
        )
        optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
        for _ in range(4):
            for index in torch.randperm(len(train.targets)).split(64):
                optimizer.zero_grad()
                F.cross_entropy(
                    network(front(train.inputs[index])), train.targets[index]
                ).backward()
                optimizer.step()
        networks.append(network.eval())
    return (
        networks,
        (front(train.inputs), train.targets),
        (front(validation.inputs), validation.targets),
    )
