"""Scales moved between layers: equal outputs, equal ranges, and weights that one step suffices for."""

import pytest
import torch
from properties import assert_explains, assert_input_untouched
from torch import nn

from espalier.errors import BadInput
from espalier.folding import equalize_ranges, fold_batch_norms
from espalier.models import build
from espalier.models.structure import Masked, Shared, record


@torch.no_grad()
def assert_nearly_equal_outputs(one, other, images):
    wanted, found = one.eval()(images), other(images)
    assert (wanted - found).abs().max() <= 1e-5 * wanted.abs().max()


class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def stretched(*layers):
    """Layers in a row whose rows differ in size by up to a thousand times."""
    torch.manual_seed(0)
    network = nn.Sequential(*layers)
    for layer in network:
        if isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Linear):
            size = 10 ** torch.empty(len(layer.weight)).uniform_(-1.5, 1.5)
            layer.weight.data *= size.view(-1, *[1] * (layer.weight.ndim - 1))
    return network.eval()


def outgoing(layer):
    return layer.weight.abs().flatten(1).amax(1)


def incoming(layer, channels):
    """The largest weight that reads each channel, one group after another."""
    groups = getattr(layer, "groups", 1)
    rows = layer.weight.chunk(groups)
    read = [group.transpose(0, 1).reshape(channels // groups, -1) for group in rows]
    return torch.cat(read).abs().amax(1)


IN_A_ROW = {
    "convolutions": ([nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)], (3, 9, 9)),
    "a pool between": (
        [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 4, 1)],
        (3, 9, 9),
    ),
    "a depthwise one": ([nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8)], (3, 7, 7)),
    "groups": (
        [nn.Conv2d(3, 8, 1, bias=False), nn.LeakyReLU(0.1), nn.Conv2d(8, 12, 3, groups=4)],
        (3, 7, 7),
    ),
    "maps that become columns": (
        [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(32, 4)],
        (3, 6, 6),
    ),
    "means of maps": ([nn.Conv2d(3, 8, 3), nn.ReLU(), Mean(), nn.Linear(8, 4)], (3, 6, 6)),
    "tokens": ([nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)], (5, 6)),
    "one dimension": ([nn.Conv1d(3, 8, 3), nn.ReLU(), nn.Conv1d(8, 4, 1)], (3, 9)),
    "nothing between": ([nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)], (3, 9, 9)),
}


@pytest.mark.parametrize(("sequence", "shape"), IN_A_ROW.values(), ids=IN_A_ROW)
def test_both_sides_of_a_channel_get_the_same_range_and_outputs_are_equal(sequence, shape):
    """Nagel et al. 2019, eq. 8 to 11."""
    network = stretched(*sequence)
    with assert_input_untouched(network):
        equalized = equalize_ranges(network, torch.zeros(1, *shape))
    assert_nearly_equal_outputs(network, equalized, torch.randn(5, *shape))
    first, last = equalized[0], equalized[-1]
    channels = len(first.weight)
    torch.testing.assert_close(outgoing(first), incoming(last, channels), rtol=1e-3, atol=0)
    product = outgoing(network[0]) * incoming(network[-1], channels)
    torch.testing.assert_close(outgoing(first), product.sqrt(), rtol=1e-3, atol=0)


def test_scales_of_a_long_row_settle():
    network = stretched(
        nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3)
    )
    equalized = equalize_ranges(network, torch.zeros(2, 6))
    for before, after in ((0, 2), (2, 4), (4, 5)):
        ranges = outgoing(equalized[before]), incoming(equalized[after], 8)
        torch.testing.assert_close(*ranges, rtol=0.01, atol=0)


class Sum(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.two(torch.relu(self.one(x)) + x)


class ReadTwice(Sum):
    def forward(self, x):
        y = torch.relu(self.one(x))
        return self.two(y) + y


def tied():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


STAY = {
    "a sum": (Sum(), (6,)),
    "another reader": (ReadTwice(), (6,)),
    "a layer that works twice": (tied(), (6,)),
    "a sigmoid": (nn.Sequential(nn.Linear(6, 6), nn.Sigmoid(), nn.Linear(6, 6)), (6,)),
    "a bounded rectifier": (nn.Sequential(nn.Linear(6, 6), nn.ReLU6(), nn.Linear(6, 6)), (6,)),
    "a norm": (
        nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1)),
        (3, 5, 5),
    ),
    "columns of an image": (nn.Sequential(nn.Conv2d(3, 6, 3), nn.Linear(6, 4)), (3, 8, 8)),
    "a pool over features": (
        nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.MaxPool1d(2), nn.Linear(4, 3)),
        (5, 6),
    ),
    "tokens that become columns": (
        nn.Sequential(nn.Linear(6, 8), nn.Flatten(), nn.Linear(40, 3)),
        (5, 6),
    ),
}


@pytest.mark.parametrize(("network", "shape"), STAY.values(), ids=STAY)
def test_other_layers_keep_their_weights(network, shape):
    equalized = equalize_ranges(network, torch.zeros(2, *shape))
    for name, value in network.state_dict().items():
        assert torch.equal(equalized.state_dict()[name], value), name


def test_channels_without_weights_keep_theirs():
    network = stretched(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 4))
    network[0].weight.data[1] = 0
    network[2].weight.data[:, 2] = 0
    equalized = equalize_ranges(network, torch.zeros(2, 6))
    assert torch.equal(equalized[0].weight[1:3], network[0].weight[1:3])
    assert torch.equal(equalized[0].bias[1:3], network[0].bias[1:3])


def with_one_step_each(network, bits):
    """The network with every weight rounded to multiples of a single step."""
    for value in network.parameters():
        if value.ndim > 1:
            step = value.detach().abs().max() / (2 ** (bits - 1) - 1)
            value.data = (value / step).round() * step
    return network


def test_one_step_for_a_weight_suffices_after_it():
    """Nagel et al. 2019, section 3.1: of different ranges, one step leaves small channels no levels."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.ReLU()
    network = nn.Sequential(*layers, nn.Conv2d(16, 8, 1))
    images = torch.randn(16, 3, 9, 9)
    wanted = network(images)
    scales = 10 ** torch.empty(16).uniform_(-1.5, 1.5)
    network[2].weight.data *= scales.view(-1, 1, 1, 1)
    network[2].bias.data *= scales
    network[4].weight.data /= scales.view(1, -1, 1, 1)
    equalized = equalize_ranges(network, images)

    def error(one):
        return ((one(images) - wanted).norm() / wanted.norm()).item()

    assert error(with_one_step_each(equalized, 6)) < 0.1
    assert error(with_one_step_each(network, 6)) > 0.5


def test_a_network_of_the_zoo_is_equalized():
    network = build("espalier:mobilenet", classes=10, shape=(3, 32, 32))
    images = torch.randn(4, 3, 32, 32)
    folded = fold_batch_norms(network, images)
    equalized = equalize_ranges(folded, images)
    assert_nearly_equal_outputs(folded, equalized, images)


def test_masks_keep_their_zeros_and_shared_weights_are_refused():
    network = stretched(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    network[0].weight.data[:, ::2] = 0
    record(network, Masked(("0.weight",)))
    assert (equalize_ranges(network, torch.zeros(2, 6))[0].weight[:, ::2] == 0).all()
    record(network, Shared(("2.weight",)))
    with pytest.raises(BadInput) as caught:
        equalize_ranges(network, torch.zeros(2, 6))
    assert_explains(caught.value, "before weights are shared", "shared weights in 2")
