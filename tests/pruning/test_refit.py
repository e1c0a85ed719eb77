"""Refitting layer after layer: against least squares written out, for each kind of layer, and what stays."""

import copy

import numpy as np
import pytest
import torch
from small_cuts import COUNT, error, losses_of, perceptron
from torch import nn
from torch.nn import functional as F

from espalier.models.layer_inputs import LayerInputs
from espalier.models.structure import set_masked_weights, set_shared_weights
from espalier.pruning import prune
from espalier.pruning.surgery import refit as module
from espalier.pruning.surgery.patches import draw_places, inputs_at, outputs_at


def cuts(network, inputs, **keys):
    """The cut without reconstruction, with one at once, and with one layer after another."""
    keys = {"keep_macs": 0.5, "align": 1, "losses": losses_of(inputs)} | keys
    return [prune(network, inputs[:2], reconstruct=how, **keys) for how in (False, True, "layers")]


def changed(network, other) -> set[str]:
    state = other.state_dict()
    return {name for name, one in network.named_parameters() if not torch.equal(one, state[name])}


CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3),
    nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
    nn.Conv2d(4, 6, (3, 1), stride=(1, 2), padding=(2, 0)),
    nn.Conv2d(4, 6, 3, padding=2, dilation=2),
    nn.Conv2d(4, 6, (4, 3), padding="same"),
    nn.Conv2d(4, 6, (4, 3), padding="same", dilation=(1, 2)),
    nn.Conv2d(4, 6, 3, padding="valid"),
    nn.Conv2d(4, 6, 3, padding=1, groups=2),
    nn.Conv2d(4, 8, 3, padding=1, groups=4),
    nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"),
    nn.Conv2d(4, 6, 1),
    nn.Conv1d(4, 6, 3, stride=2, padding=1),
    nn.Conv3d(4, 6, (1, 2, 3), padding=(0, 1, 1)),
    nn.Linear(5, 6),
    nn.Linear(5, 6, bias=False),
]


@pytest.mark.parametrize("most", [10_000, 50])
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_the_inputs_at_a_place_times_the_weight_are_the_output_there(layer, most):
    shape = {3: (3, 4, 11), 4: (3, 4, 9, 8), 5: (2, 4, 5, 6, 7)}.get(layer.weight.ndim, (3, 7, 5))
    seen = []
    with torch.no_grad(), LayerInputs(layer, seen.append):
        layer(torch.randn(shape))
    (given,) = seen
    places = draw_places(given, most, 0)
    groups = getattr(layer, "groups", 1)
    inputs = inputs_at(given, layer.weight.shape, groups, places)
    weight = layer.weight.detach().reshape(groups, -1, inputs.shape[2])
    found = torch.einsum("rgi,goi->rgo", inputs, weight).flatten(1)
    found += 0 if layer.bias is None else layer.bias.detach()
    assert len(found) == min(most, given.output.numel() // len(layer.weight))
    assert torch.allclose(found, outputs_at(given, places), atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_the_weights_are_those_of_the_least_squares(bias, monkeypatch):
    monkeypatch.setattr(module, "_RIDGE", 1e-9)
    network, inputs = perceptron(bias=bias), torch.randn(COUNT, 6)
    without, _, fitted = cuts(network, inputs)
    with torch.no_grad():
        read, wanted = without[:2](inputs).double(), network(inputs).double()
    if bias:
        read = torch.cat([read, torch.ones(COUNT, 1, dtype=torch.double)], 1)
    best = torch.linalg.lstsq(read, wanted).solution
    width = fitted[2].in_features
    assert torch.allclose(fitted[2].weight.double(), best[:width].T, atol=1e-3)
    if bias:
        assert torch.allclose(fitted[2].bias.double(), best[width], atol=1e-3)
    assert torch.allclose(fitted[0].weight, without[0].weight, atol=1e-4)  # it lost no input


class Deep(nn.Module):
    """Plain, strided, depthwise and grouped convolutions, norms, a shortcut and a layer that is called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 16, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.point = nn.Conv2d(16, 16, 1)
        self.twice = nn.Conv2d(16, 16, 3, padding=1)
        self.last = nn.Conv2d(16, 12, 3, stride=2, padding=1)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        x = x + self.point(self.depthwise(x).relu())
        x = self.twice(self.twice(x).relu()).relu()
        return self.head(self.last(x).relu().mean((2, 3)))


def test_each_kind_of_layer_is_fitted_and_the_whole_is_nearer():
    network, images = Deep().eval(), torch.randn(96, 2, 9, 9)
    without, at_once, fitted = cuts(network, images, losses=losses_of(images, 32))
    names = {"depthwise", "point", "twice", "last", "head"}
    assert {name.partition(".")[0] for name in changed(fitted, at_once)} >= names
    unseen = torch.randn(96, 2, 9, 9)
    errors = [error(network, one, unseen) for one in (without, at_once, fitted)]
    assert errors[2] < 0.5 * errors[1] < 0.5 * errors[0]


def test_the_bits_do_not_depend_on_how_much_is_kept_at_a_time(monkeypatch):
    network, images = Deep().eval(), torch.randn(96, 2, 9, 9)
    passes = []

    def losses(network):
        passes.append(network)
        return losses_of(images, 32)(network)

    *_, once = cuts(network, images, losses=losses)
    few = len(passes)
    monkeypatch.setattr(module, "_MOST", 0)
    *_, again = cuts(network, images, losses=losses)
    assert len(passes) - few > few
    assert changed(once, again) == set()


def test_later_passes_end_at_the_layer(monkeypatch):
    network, images = Deep().eval(), torch.randn(96, 2, 9, 9)
    calls = []
    cut = prune(network, images[:2], keep_macs=0.5, align=1)
    counted = copy.deepcopy(cut)
    counted.head.register_forward_hook(lambda *given: calls.append(given))
    halting = module._Halting(counted)
    layers = module._layers(counted, halting, losses_of(images, 32))
    assert [layer.weight.partition(".")[0] for layer in layers] == [
        "first",
        "depthwise",
        "point",
        "twice",
        "last",
        "head",
    ]
    calls.clear()
    wanted = module._outputs(cut, layers, losses_of(images, 32))
    for layer in layers:
        problem = module._Problem(counted, layer, wanted[layer.weight])
        answers = []

        def losses(network, answers=answers):
            for part in images.split(32):
                answers.append(network(part))
                yield answers[-1].sum()

        halting.run(losses, problem.add)
        assert torch.allclose(torch.cat(answers), cut(images), atol=1e-5)
    assert len(calls) == 3  # of the layer that is called twice a batch


@pytest.mark.parametrize("mark", [set_masked_weights, set_shared_weights])
def test_masked_and_shared_weights_stay(mark):
    network, inputs = perceptron(16), torch.randn(COUNT, 6)
    with torch.no_grad():
        network[2].weight[:, ::3] = 0
    mark(network, ["2.weight"])
    without, _, fitted = cuts(network, inputs)
    assert torch.equal(without[2].weight, fitted[2].weight)


class Tied(nn.Module):
    """Its table of embeddings is the weight of its classifier, and its LSTM multiplies states."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.inner = nn.Linear(8, 8)

    def forward(self, tokens):
        states, _ = self.lstm(self.table(tokens))
        return F.linear(self.inner(states[:, -1]).relu(), self.table.weight)


def test_tied_and_recurrent_weights_stay():
    network, tokens = Tied().eval(), torch.randint(11, (COUNT, 5))
    _, at_once, fitted = cuts(network, tokens, keep_macs=0.7)
    assert changed(fitted, at_once) <= {"inner.weight", "inner.bias"}


def test_too_few_examples_and_values_that_are_not_finite_teach_nothing():
    network, inputs = perceptron(64), torch.randn(40, 6)
    without, _, fitted = cuts(network, inputs)
    assert torch.equal(without[2].weight, fitted[2].weight)
    network, inputs = perceptron(), torch.randn(COUNT, 6)
    inputs[7] = torch.inf
    without, _, fitted = cuts(network, inputs)
    assert changed(fitted, without) == set()


def test_heads_of_attention_are_fitted():
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0, batch_first=True)
    network = nn.Sequential(nn.Linear(5, 16), layer, nn.Flatten(1), nn.Linear(16 * 7, 3)).eval()
    inputs = torch.randn(COUNT, 7, 5)
    without, at_once, fitted = cuts(network, inputs)
    errors = [error(network, one, inputs) for one in (without, at_once, fitted)]
    assert errors[2] < 0.7 * errors[1] < 0.7 * errors[0]


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_on_digits_a_cut_loses_less(trained):
    """Loss on validation right after the cut, in the mean over networks, without statistics computed anew."""
    networks, (images, labels), (unseen, answers) = trained

    def losses(network):
        for part in torch.arange(len(images)).split(128):
            yield F.cross_entropy(network(images[part]), labels[part])

    found = []
    for network in networks[:2]:
        tried = cuts(network, images, losses=losses)
        found.append([F.cross_entropy(one(unseen), answers).item() for one in tried])
    _, at_once, fitted = np.mean(found, 0)
    assert fitted < 0.5 * at_once
