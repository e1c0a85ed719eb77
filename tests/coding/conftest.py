"""Networks to be packed: of every family, and small ones whose weights are what a test wants."""

import pytest
import torch
from cases import NETWORKS
from torch import nn

from espalier.models import build


@pytest.fixture
def lenet() -> nn.Module:
    torch.manual_seed(1)
    return build("espalier:lenet5", classes=10, shape=(1, 16, 16))


@pytest.fixture(params=NETWORKS, ids=str)
def network(request) -> nn.Module:
    """One of each family, whose running statistics are not those it was born with."""
    case = request.param
    torch.manual_seed(3)
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    for _ in range(2):
        network(torch.randn(8, *case.shape))
    return network
