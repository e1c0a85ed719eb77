"""Networks as people write them: pruned right, or refused with the line in the way; never wrong in silence."""

import copy

import numpy as np
import pytest
import torch
from properties import assert_explains
from spelling_networks import Tutorial
from torch import nn
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.measures.macs import count_macs
from espalier.pruning import prune
from espalier.pruning.rules import RULES
from espalier.pruning.rules.values import passes

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def conv(before, after, **more):
    return nn.Conv2d(before, after, 3, padding=1, **more)


class Classifier(nn.Module):
    def __init__(self, body, width):
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 5)

    def forward(self, x):
        return self.head(self.body(x).mean((2, 3)))


def between(layer):
    """A classifier with a layer between two convolutions of 32 channels."""
    torch.manual_seed(0)
    return Classifier(
        nn.Sequential(conv(3, 32), nn.ReLU(), layer, conv(32, 32), nn.ReLU()), 32
    ).eval()


class Bound(nn.Module):
    """A tensor as the upper bound of another."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 32), conv(3, 32)
        self.c, self.head = conv(32, 16), nn.Linear(16, 5)

    def forward(self, x):
        return self.head(self.c(torch.clamp(self.a(x), max=self.b(x))).relu().mean((2, 3)))


class Laplace(nn.Module):
    """One fixed filter, repeated for as many channels as there are."""

    def __init__(self):
        super().__init__()
        self.register_buffer("k", torch.tensor([[[[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]]]))

    def forward(self, x):
        c = x.shape[1]
        return F.conv2d(x, self.k.expand(c, 1, 3, 3), padding=1, groups=c)


class Blur(nn.Module):
    """A saved filter whose groups are spelled."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels
        self.register_buffer("k", torch.ones(channels, 1, 3, 3) / 9)

    def forward(self, x):
        return F.conv2d(x, self.k, stride=2, padding=1, groups=self.channels)


class Checked(nn.Module):
    """An assertion about the width."""

    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        assert x.shape[1] == self.channels
        return x


class ByInstanceNorm(nn.Module):
    """A group norm of four groups, written with an instance norm."""

    def forward(self, x):
        return F.instance_norm(x.view(len(x), 4, -1)).view(len(x), -1, 16, 16)


class Equalised(nn.Conv2d):
    """The equalised learning rate of GANs: the weight is computed in the forward pass."""

    def forward(self, x):
        return F.conv2d(x, self.weight * 0.2, self.bias, padding=1)


class Standardised(nn.Conv2d):
    """Weight standardisation (Qiao et al. 2019)."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(
            x, weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5), self.bias, padding=1
        )


class DeeplySupervised(nn.Module):
    """A head that only training uses."""

    def __init__(self):
        super().__init__()
        self.a, self.b = conv(3, 32), conv(32, 32)
        self.head, self.auxiliary = nn.Linear(32, 5), nn.Linear(32, 5)

    def forward(self, x):
        y = self.a(x).relu()
        z = self.b(y).relu().mean((2, 3))
        return (self.head(z), self.auxiliary(y.mean((2, 3)))) if self.training else self.head(z)


class BegunEmpty(nn.Module):
    """A concatenation that begins with an empty tensor of one dimension."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 16), conv(3, 16), conv(32, 16)

    def forward(self, x):
        out = torch.tensor([], dtype=x.dtype)
        for layer in (self.a, self.b):
            out = torch.cat((out, layer(x).relu()), 1)
        return self.c(out).relu()


class GroupedQueries(nn.Module):
    """Keys and values repeated for several queries, in the outermost forward pass."""

    def __init__(self):
        super().__init__()
        self.e, self.q, self.k, self.v = (
            nn.Linear(24, 32),
            nn.Linear(32, 32),
            nn.Linear(32, 16),
            nn.Linear(32, 16),
        )
        self.o, self.h = nn.Linear(32, 32), nn.Linear(32, 5)

    def forward(self, x):
        x = self.e(x)
        b, n, _ = x.shape
        q, k, v = (layer(x).view(b, n, -1, 8).transpose(1, 2) for layer in (self.q, self.k, self.v))
        k, v = (t[:, :, None].expand(b, 2, 2, n, 8).reshape(b, 4, n, 8) for t in (k, v))
        return self.h(
            self.o(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)).mean(1)
        )


def masked():
    """Masks of torch.nn.utils.prune, which compute the weight before each forward pass."""
    from torch.nn.utils import prune as torch_prune

    network = between(nn.Identity())
    torch_prune.random_unstructured(network.body[0], "weight", 0.3)
    return network


RIGHT = {
    "a bound of clamp": Bound,
    "a repeated fixed filter": lambda: between(Laplace()),
    "an equalised weight": lambda: between(Equalised(32, 32, 3)),
    "a standardised weight": lambda: between(Standardised(32, 32, 3)),
    "masks of torch": masked,
    "a concatenation begun empty": lambda: Classifier(BegunEmpty(), 16),
    "grouped queries": GroupedQueries,
    "a saved filter": lambda: between(Blur(32)),
    "a spelled width": Tutorial,
    "statistics over channels": lambda: between(ByInstanceNorm()),
}


@pytest.mark.parametrize("kind", RIGHT)
@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_it_is_pruned_and_trains(kind):
    torch.manual_seed(0)
    network = RIGHT[kind]().eval()
    example = torch.randn(2, 8, 24) if kind == "grouped queries" else IMAGES
    smaller = prune(network, example, keep_macs=0.8, align=1, budget="uniform")
    assert count_macs(smaller, example) <= 0.8 * count_macs(network, example)
    smaller.train()(example).sum().backward()


REFUSED = {
    "a width in a comparison": (lambda: between(Checked(32)), ["assert x.shape[1]", "keep"]),
    "a head of training": (DeeplySupervised, ["can be trained", "self.auxiliary", "keep"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_with_the_line_that_stands_in_the_way(kind):
    torch.manual_seed(0)
    network, words = REFUSED[kind]
    with pytest.raises(BadInput) as refusal:
        prune(network().eval(), IMAGES, keep_macs=0.5, align=1, budget="uniform")
    assert_explains(refusal.value, *words)


def test_a_layer_in_keep_is_the_way_out():
    torch.manual_seed(0)
    smaller = prune(Tutorial().eval(), IMAGES, keep_macs=0.8, align=1, keep=("conv2",))
    assert smaller.conv2.out_channels == 16
    assert smaller.conv1.out_channels < 16


def test_wrong_values_are_refused_even_where_a_rule_is_wrong(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setitem(RULES, "clamp", passes)  # as it was: the bound was ignored
    with pytest.raises(BadInput) as refusal:
        prune(Bound().eval(), IMAGES, keep_macs=0.5, align=8, budget="uniform")
    assert_explains(refusal.value, "off by", "keep")


def test_removed_channels_of_a_bound_are_those_of_what_it_bounds():
    torch.manual_seed(0)
    network = Bound().eval()
    smaller = prune(network, IMAGES, keep_macs=0.5, align=8, budget="uniform")
    kept = [
        next(row for row in range(32) if torch.equal(network.a.weight[row], own))
        for own in smaller.a.weight
    ]
    assert torch.equal(smaller.b.weight, network.b.weight[kept])


@pytest.mark.parametrize("layer", [nn.LSTM, nn.GRU])
def test_recurrent_layers_are_counted(layer):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.recurrent, self.head = layer(24, 32, batch_first=True), nn.Linear(32, 5)

        def forward(self, x):
            return self.head(self.recurrent(x)[0][:, -1])

    gates = 4 if layer is nn.LSTM else 3
    expected = 10 * gates * 32 * (24 + 32) + 32 * 5
    assert count_macs(Words(), torch.zeros(2, 10, 24)) == expected


def test_the_whole_network_is_unchanged():
    torch.manual_seed(0)
    network = Bound().eval()
    before = copy.deepcopy(network.state_dict())
    prune(network, IMAGES, keep_macs=0.5, align=8)
    assert all(np.array_equal(value, before[name]) for name, value in network.state_dict().items())
    assert not network.training
