"""Networks to be packed: one of every family, and small ones."""

import warnings

import pytest
import torch
from cases import NETWORKS
from torch import nn

from espalier.errors import Notice
from espalier.models import build
from espalier.pruning import prune


@pytest.fixture
def small() -> nn.Module:
    """LeNet-5 with a tenth of its 55,000 weights."""
    torch.manual_seed(1)
    network = build("espalier:lenet5", classes=10, shape=(1, 16, 16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        return prune(network, torch.zeros(2, 1, 16, 16), keep_parameters=0.12, align=1)


@pytest.fixture(params=NETWORKS, ids=str)
def network(request) -> nn.Module:
    """One of each family, with changed running statistics."""
    case = request.param
    torch.manual_seed(3)
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    for _ in range(2):
        network(torch.randn(8, *case.shape))
    return network
