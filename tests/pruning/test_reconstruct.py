"""Reconstruction against least squares written out, and what it must leave alone."""

import copy

import numpy as np
import pytest
import torch
from small_cuts import COUNT, error, losses_of, perceptron
from torch import nn
from torch.nn import functional as F

from espalier.models import build
from espalier.models.layer_inputs import LayerInputs
from espalier.models.structure import set_masked_weights, set_shared_weights
from espalier.pruning import prune
from espalier.pruning.surgery import reconstruct as module


def both(network, inputs, **keys):
    """The cut without and with reconstruction."""
    keys = {"keep_macs": 0.5, "align": 1, "losses": losses_of(inputs)} | keys
    return [prune(network, inputs[:2], reconstruct=on, **keys) for on in (False, True)]


def test_a_cut_of_repeated_neurons_loses_nothing():
    """Each is three times its twin: what reads it is added to what reads the twin, three times."""
    network, inputs = perceptron(), torch.randn(COUNT, 6)
    with torch.no_grad():
        for value in (network[0].weight, network[0].bias):
            value[4:] = 3 * value[:4]
    without, reconstructed = both(network, inputs)
    expected = float(network(inputs).square().mean())
    assert error(network, without, inputs) > 0.01 * expected
    assert error(network, reconstructed, inputs) < 1e-5 * expected


@pytest.mark.parametrize("bias", [True, False])
def test_the_weights_are_those_of_the_least_squares(bias, monkeypatch):
    monkeypatch.setattr(module, "_RIDGE", 1e-9)
    network, inputs = perceptron(bias=bias), torch.randn(COUNT, 6)
    without, reconstructed = both(network, inputs)
    with torch.no_grad():
        read = without[:2](inputs).double()
        wanted = network(inputs).double()
    if bias:
        read = torch.cat([read, torch.ones(COUNT, 1, dtype=torch.double)], 1)
    best = torch.linalg.lstsq(read, wanted).solution
    width = reconstructed[2].in_features
    assert torch.allclose(reconstructed[2].weight.double(), best[:width].T, atol=1e-3)
    if bias:
        assert torch.allclose(reconstructed[2].bias.double(), best[width], atol=1e-3)
    assert torch.equal(reconstructed[0].weight, without[0].weight)  # it reads no removed channel


def test_a_channel_that_is_always_the_same_goes_into_the_bias():
    network, inputs = perceptron(), torch.randn(COUNT, 6)
    with torch.no_grad():
        network[0].weight[:4] = 0
        network[0].bias[:4] = 2
        network[0].bias[4:] = -0.1
        network[0].weight[4:] *= 10  # so that the others have the smaller norms
    without, reconstructed = both(network, inputs)
    assert error(network, without, inputs) > 1e-2
    assert error(network, reconstructed, inputs) < 1e-5


def test_masked_and_shared_weights_stay():
    network, inputs = perceptron(16), torch.randn(COUNT, 6)
    with torch.no_grad():
        network[2].weight[:, ::3] = 0
    for keep in (set_masked_weights, set_shared_weights):
        marked = copy.deepcopy(network)
        keep(marked, ["2.weight"])
        without, reconstructed = both(marked, inputs)
        assert torch.equal(without[2].weight, reconstructed[2].weight)


class Grouped(nn.Module):
    """A grouped convolution reads the channels that are removed; a plain one reads its result."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.last = nn.Conv2d(8, 4, 3, stride=2, padding=1)

    def forward(self, x):
        return self.last(self.grouped(self.first(x).relu()).relu()).mean((2, 3))


def test_grouped_convolutions_stay_and_plain_ones_are_nearer_to_the_whole():
    network, images = Grouped().eval(), torch.randn(64, 2, 9, 9)
    without, reconstructed = both(network, images, losses=losses_of(images, 16))
    assert torch.equal(without.grouped.weight, reconstructed.grouped.weight)
    assert without.last.weight.shape == reconstructed.last.weight.shape
    assert error(network, reconstructed, images) < error(network, without, images)


class Tied(nn.Module):
    """Its table of embeddings is the weight of its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.inner = nn.Linear(8, 8)

    def forward(self, tokens):
        return F.linear(self.inner(self.table(tokens).mean(1)).relu(), self.table.weight)


class TiedByName(Tied):
    """Its table is given to the lookup by keyword."""

    def forward(self, tokens):
        looked_up = F.embedding(input=tokens, weight=self.table.weight)
        return F.linear(self.inner(looked_up.mean(1)).relu(), self.table.weight)


class Joined(Tied):
    """Its table is an element of a list that is joined."""

    def forward(self, tokens):
        table = torch.cat([self.table.weight, self.table.weight])
        looked_up = F.embedding(tokens, table)
        return F.linear(self.inner(looked_up.mean(1)).relu(), self.table.weight)


@pytest.mark.parametrize("network", [Tied, TiedByName, Joined])
def test_a_weight_that_is_used_twice_stays(network):
    network, tokens = network().eval(), torch.randint(11, (COUNT, 5))
    seen = set[str]()
    with LayerInputs(network, lambda given: seen.add(given.weight)) as inputs:
        network(tokens)
    assert seen == {"table.weight", "inner.weight"}
    assert inputs.also_used == {"table.weight"}
    without, reconstructed = both(network, tokens)
    assert without.table.weight.shape[1] < network.table.weight.shape[1]
    assert torch.equal(without.table.weight, reconstructed.table.weight)
    assert not torch.equal(without.inner.weight, reconstructed.inner.weight)


class Twice(nn.Module):
    """It applies a weight twice: once with its bias, and once without."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        hidden = self.first(x).relu()
        return self.second(hidden) + F.linear(hidden.square(), self.second.weight)


def test_a_weight_with_several_biases_stays():
    network, inputs = Twice().eval(), torch.randn(COUNT, 6)
    without, reconstructed = both(network, inputs)
    assert without.second.in_features < network.second.in_features
    assert torch.equal(without.second.weight, reconstructed.second.weight)


def test_too_few_examples_teach_nothing():
    network, inputs = perceptron(64), torch.randn(40, 6)
    without, reconstructed = both(network, inputs)
    assert torch.equal(without[2].weight, reconstructed[2].weight)


def test_the_bits_do_not_depend_on_how_much_is_measured_at_a_time(monkeypatch):
    images = torch.randn(64, 3, 16, 16)
    network = build("espalier:resnet", classes=4, shape=(3, 16, 16), arguments={"depth": 8}).eval()
    passes = []

    def losses(network):
        passes.append(network)
        return losses_of(images)(network)

    without, once = both(network, images, losses=losses)
    monkeypatch.setattr(module, "_MOST", 8 * 65 * 65)  # the widest layer
    passes.clear()
    _, again = both(network, images, losses=losses)
    assert len(passes) > 1
    assert_same(once, again)
    monkeypatch.setattr(module, "_MOST", 0)
    _, nothing = both(network, images, losses=losses)
    assert_same(without, nothing)


def assert_same(network: nn.Module, other: nn.Module) -> None:
    state = other.state_dict()
    assert all(torch.equal(one, state[name]) for name, one in network.state_dict().items())


def test_attention_and_what_follows_it_are_nearer_to_the_whole():
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0, batch_first=True)
    network = nn.Sequential(nn.Linear(5, 16), layer, nn.Flatten(1), nn.Linear(16 * 7, 3)).eval()
    inputs = torch.randn(COUNT, 7, 5)
    without, reconstructed = both(network, inputs)
    assert error(network, reconstructed, inputs) < 0.7 * error(network, without, inputs)
    state = without.state_dict()
    changed = {
        name for name, one in reconstructed.named_parameters() if not torch.equal(one, state[name])
    }
    assert {"1.self_attn.in_proj_weight", "1.linear2.weight", "1.linear2.bias"} < changed


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_on_digits_a_cut_loses_less(trained):
    """Loss on validation right after the cut, in the mean over networks."""
    networks, (images, labels), (unseen, answers) = trained

    def losses(network):
        for part in torch.arange(len(images)).split(128):
            yield F.cross_entropy(network(images[part]), labels[part])

    found = []
    for network in networks[:2]:
        cuts = both(network, images, losses=losses, score="taylor")
        found.append([float(F.cross_entropy(one(unseen), answers)) for one in cuts])
    without, reconstructed = np.mean(found, 0)
    assert reconstructed < 0.5 * without
