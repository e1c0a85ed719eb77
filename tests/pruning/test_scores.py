"""Scores against what they stand for: a norm by hand, the change of the loss itself, and chance."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from espalier.data.prepared import read_dataset, read_split
from espalier.models import build
from espalier.pruning import prune
from espalier.pruning.budget import Cost, choose
from espalier.pruning.scores import magnitude, taylor
from espalier.pruning.surgery import cut
from espalier.pruning.units import find_units
from espalier.training.views import normaliser

SHAPE = (1, 8, 8)


@pytest.fixture(scope="module")
def trained(digits):
    """A small network that knows the digits, with training and validation images as it sees them, and labels."""
    torch.manual_seed(0)
    network = build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": 8})
    dataset = read_dataset(digits)
    look = normaliser(dataset.mean, dataset.std, torch.device("cpu"))
    train, validation = read_split(digits, "train"), read_split(digits, "validation")
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9)
    for _ in range(4):
        for index in torch.randperm(len(train.labels)).split(64):
            optimizer.zero_grad()
            F.cross_entropy(network(look(train.images[index])), train.labels[index]).backward()
            optimizer.step()
    return network.eval(), (look(train.images), train.labels), (look(validation.images), validation.labels)


def test_magnitude_is_the_norm_of_a_units_weights_over_its_layers_mean():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)).eval()
    values = {"0.weight": [3.0, 2.0], "0.bias": [4.0, 2.0], "1.weight": [0.0, 1.0], "1.bias": [12.0, 0.0]}
    for name, value in values.items():
        parameter = network.get_parameter(name)
        parameter.data = torch.tensor(value).reshape(parameter.shape)
    found = magnitude(network, find_units(network, torch.zeros(2, 1, 2, 2)))
    assert found == pytest.approx([13 / 8, 3 / 8])  # norms 13 and 3, their mean 8; what reads them does not count


@pytest.mark.parametrize("shared", [False, True])
def test_taylor_is_the_change_of_the_loss_where_everything_behind_is_linear(shared):
    """The mean over batches of the squared difference that a unit's removal makes, for one and for two readers."""

    class Linear(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.one, self.two = nn.Conv2d(1, 6, 3), nn.Linear(6 * 36, 5), nn.Conv2d(6, 5, 1)

        def forward(self, x):
            y = self.first(x).tanh()  # behind a rectifier, sums over what makes a unit would do as well
            return self.one(y.flatten(1)) + (self.two(y).sum((2, 3)) if shared else 0)

    network = Linear().double().eval()
    batches = torch.randn(3, 4, *SHAPE, dtype=torch.double)
    direction = torch.randn(4, 5, dtype=torch.double)

    def losses(network):
        for batch in batches:
            yield (network(batch) * direction).sum()

    units = find_units(network, batches[0])
    before = torch.stack(list(losses(network)))
    changes = []
    for unit in range(units.count):
        kept = np.arange(units.count) != unit
        changes.append(((torch.stack(list(losses(cut(network, units, kept)))) - before) ** 2).mean().item())
    assert len(changes) == 6
    assert taylor(network, units, losses) == pytest.approx(changes, rel=1e-9)


def test_taylor_sees_what_is_not_read_where_magnitude_sees_only_its_size():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    with torch.no_grad():
        network[1].weight[[2, 5]] *= 10  # large ...
        network[3].weight[:, [2, 5]] = 0  # ... and read by nobody
    images = torch.randn(32, *SHAPE)

    def losses(network):
        yield F.cross_entropy(network(images), torch.arange(32) % 10)

    whole = network(images)
    by_taylor = prune(network, images, keep_macs=0.75, align=1, score="taylor", losses=losses)
    assert torch.allclose(by_taylor(images), whole, atol=1e-6)
    by_magnitude = prune(network, images, keep_macs=0.75, align=1)
    assert not torch.allclose(by_magnitude(images), whole, atol=1e-2)


def test_taylor_beats_chance_on_a_trained_network(trained):
    """On the validation loss right after the cut: each of ten random cuts to the same work is worse."""
    network, (images, labels), (unseen, answers) = trained
    units = find_units(network, images[:2])
    cost = Cost(units, {name: tuple(value.shape) for name, value in network.state_dict().items()})
    target = 0.8 * cost.macs(np.ones(units.count, bool))

    def losses(network):
        for part in torch.arange(512).split(128):
            yield F.cross_entropy(network(images[part]), labels[part])

    @torch.no_grad()
    def loss(scores) -> float:
        smaller = cut(network, units, choose(units, scores, cost, most_macs=target, align=1))
        return F.cross_entropy(smaller(unseen), answers).item()

    chance = [loss(np.random.default_rng(seed).random(units.count)) for seed in range(10)]
    assert loss(taylor(network, units, losses)) < min(chance)
