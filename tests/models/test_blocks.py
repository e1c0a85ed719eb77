import copy

import pytest
import torch
from cases import Network
from properties import assert_explains, assert_input_untouched
from torch import nn

from espalier.errors import BadInput
from espalier.models import build
from espalier.models.blocks import residual_blocks
from espalier.models.structure import remove

KNOWN = [  # in 32x32 pixels: those whose shape changes within are not among them
    (Network("espalier:resnet", {"depth": 20, "width": 4}), "0.0 0.1 0.2 1.1 1.2 2.1 2.2"),
    (Network("espalier:wide_resnet", {"depth": 16, "widen": 1}), "0.0 0.1 1.1 2.1"),
    (Network("espalier:vgg", {"depth": 11, "width": 8}, shape=(3, 32, 32)), ""),
    (Network("espalier:mlp", {"hidden": [16, 16]}), ""),
]
LARGER = [
    (Network("torchvision:mobilenet_v3_small", shape=(3, 32, 32)), "3 5 6 8 10 11"),
    (Network("torchvision:shufflenet_v2_x0_5", shape=(3, 32, 32)), ""),
    (
        Network("torchvision:vit_b_32", {}, shape=(3, 224, 224)),
        " ".join(f"encoder_layer_{i}" for i in range(12)),
    ),
    (
        Network("torchvision:swin_t", {}, shape=(3, 64, 64)),
        "1.0 1.1 3.0 3.1 5.0 5.1 5.2 5.3 5.4 5.5 7.0 7.1",
    ),
]


def check(case, ends):
    network = build(case.factory, classes=10, shape=case.shape, arguments=case.arguments)
    images = torch.randn(2, *case.shape)
    with assert_input_untouched(network):
        blocks = residual_blocks(network, images)
    assert len(blocks) == len(ends.split())
    assert all(block.endswith(f".{end}") for block, end in zip(blocks, ends.split(), strict=True))
    shorter = copy.deepcopy(network)
    remove(shorter, list(blocks))
    assert shorter(images).shape == (2, 10)


@pytest.mark.parametrize(
    ("case", "ends"), KNOWN, ids=lambda part: str(part) if isinstance(part, Network) else ""
)
def test_the_blocks_of_a_network_are_those_of_its_paper_and_can_all_be_removed(case, ends):
    check(case, ends)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "ends"), LARGER, ids=lambda part: str(part) if isinstance(part, Network) else ""
)
def test_so_are_those_of_torchvisions(case, ends):
    check(case, ends)


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, 1, 1)

    def forward(self, x):
        return torch.relu(self.conv(x) + x)


class Peeped(nn.Module):
    """A value inside one block enters another layer as well."""

    def __init__(self):
        super().__init__()
        self.one, self.two = Residual(), Residual()

    def forward(self, x):
        return self.two(self.one(x)) + self.one.conv(x)


class Gate(nn.Module):
    """Multiplies its input, and adds nothing to it."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.conv(x))


class Plus(nn.Module):
    """Adds to something else than its input."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        return self.conv(x) + self.conv(x * 2)


def shared():
    block = Residual()
    return nn.Sequential(block, Residual(), block)


@pytest.mark.parametrize(
    ("network", "blocks"),
    [
        (nn.Sequential(nn.Sequential(Residual(), Residual()), nn.ReLU()), ["0.0", "0.1"]),
        (Peeped(), ["two"]),
        (nn.Sequential(Gate(), Residual()), ["1"]),
        (nn.Sequential(Plus(), Residual()), ["1"]),
        (shared(), ["1"]),
    ],
    ids=["the smallest", "looked into", "a gate", "a sum of others", "called twice"],
)
def test_a_block_adds_to_its_own_input_and_no_other_layer_reads_inside(network, blocks):
    assert list(residual_blocks(network, torch.zeros(2, 4, 5, 5))) == blocks


class Moody(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_traced_is_refused():
    with pytest.raises(BadInput) as caught:
        residual_blocks(Moody(), torch.zeros(2, 3))
    assert_explains(caught.value, "torch.export")
