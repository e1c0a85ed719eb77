"""Cutting, and what a network must remember of it."""

import sys
import types

import numpy as np
import pytest
import torch
from properties import example_of
from tiny_networks import SMALL, Network, TracedNetwork, conv, head, some
from tiny_networks_attention import ATTENTION
from tiny_networks_layers import LAYERS
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.measures.macs import count_macs
from espalier.models import build, load, save
from espalier.pruning import prune
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.surgery import cut


def grouped(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    layers = nn.Conv2d(shape[0], 8, 1), nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(12, classes, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def normed(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    layers = (
        nn.Conv2d(shape[0], 16, 3),
        nn.GroupNorm(8, 16),
        nn.PReLU(16),
        nn.ConvTranspose2d(16, classes, 2),
    )
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def attentive(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    del classes, shape
    return ATTENTION["attention in one tensor"].make()


def torchs(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    del classes, shape
    return ATTENTION["torch's encoder"].make()


@pytest.fixture(params=[normed, attentive, torchs])
def users(request, monkeypatch) -> nn.Module:
    """A network of the user's own factory."""
    trust(monkeypatch, factory=request.param)
    return build("factories:factory", classes=5, shape=SMALL, trusted=["factories"]).eval()


def trust(monkeypatch, **functions):
    """Make functions those of a module `factories`."""
    for function in functions.values():
        monkeypatch.setattr(function, "__module__", "factories")
    monkeypatch.setitem(sys.modules, "factories", types.SimpleNamespace(**functions))


@torch.no_grad()
def test_a_users_network_is_cut_twice_and_loaded_each_time(users, tmp_path):
    images = torch.randn(2, *SMALL)
    for _ in range(2):
        units = find_dependency_groups(users, images)
        former, users = users, cut(users, units, some(users, units, 0.7))
        assert sum(p.numel() for p in users.parameters()) < sum(
            p.numel() for p in former.parameters()
        )
        save(users, tmp_path / "model")
        assert torch.equal(load(tmp_path / "model", trusted=["factories"])(images), users(images))


@torch.no_grad()
def test_a_users_network_that_was_not_cut_is_loaded_as_it_was(users, tmp_path):
    images = torch.randn(2, *SMALL)
    save(users, tmp_path / "model")
    again = load(tmp_path / "model", trusted=["factories"])
    assert repr(again) == repr(users)
    assert torch.equal(again(images), users(images))


def test_a_grouped_convolution_that_was_cut_to_one_channel_each_and_then_as_a_depthwise_one_is_loaded(
    tmp_path, monkeypatch
):
    """Weights of (9, 1, 3, 3) may be three groups or nine."""
    trust(monkeypatch, grouped=grouped)
    network = build("factories:grouped", classes=5, shape=SMALL, trusted=["factories"]).eval()
    images = torch.randn(2, *SMALL)
    for groups in (4, 3):
        units = find_dependency_groups(network, images)
        kept = np.ones(units.count, bool)
        kept[units.where["0.weight"][0][0]] = False
        network = cut(network, units, kept)
        assert network[1].groups == groups
        save(network, tmp_path / "model")
        again = load(tmp_path / "model", trusted=["factories"])
        assert again[1].groups == groups
        assert torch.equal(again(images), network(images))


def test_a_group_norm_loses_whole_groups():
    """Channels of three of eight groups of sixteen channels are removed: the other statistics stay what they were."""
    network = normed(classes=5, shape=SMALL).eval()
    units = find_dependency_groups(network, torch.randn(2, *SMALL))
    kept = np.ones(units.count, bool)
    kept[units.where["1.weight"][0][[0, 2, 15]]] = False
    smaller = cut(network, units, kept)
    assert (smaller[1].num_groups, smaller[1].num_channels, smaller[2].num_parameters) == (
        5,
        10,
        10,
    )


def test_layers_that_share_weights_share_them_after_the_cut():
    tree = TracedNetwork.of(LAYERS["tied weights"])
    smaller = cut(tree.network, tree.units, tree.kept)
    assert smaller.two.weight is smaller.one.weight
    assert len(smaller.one.weight) == tree.kept[:8].sum()


def test_a_network_of_which_nothing_can_go_stays_as_it_is():
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 5)).eval()
    units = find_dependency_groups(network, torch.randn(2, *SMALL))
    assert units.count == 0
    assert torch.equal(cut(network, units, np.ones(0, bool))[1].weight, network[1].weight)


def compared(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    y = y[:, :, ::1].relu() if y.shape[1] == 16 else y.sigmoid()
    return n.last(y)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_forward_pass_that_tests_a_width_is_refused_even_if_it_would_run():
    network = Network(compared, first=conv(3, 16), last=conv(16, 6), head=head(6))
    with pytest.raises(BadInput, match="keep"):
        prune(network, torch.zeros(2, *SMALL), keep_macs=0.5, align=1)
    smaller = prune(network, torch.zeros(2, *SMALL), keep_macs=0.95, align=1, keep=("first",))
    assert (smaller.first.out_channels, smaller.last.out_channels) == (16, 5)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_network_of_two_inputs_is_pruned_by_what_it_computes_for_both():
    network = LAYERS["two inputs"].make().eval()
    shapes = LAYERS["two inputs"].shapes
    images = tuple(torch.randn(1, *shape) for shape in shapes)
    smaller = prune(network, images, keep_macs=0.5, align=1)
    assert (
        0.4
        < count_macs(smaller, example_of(shapes)) / count_macs(network, example_of(shapes))
        <= 0.5
    )
    assert smaller.first.out_channels == smaller.second.out_features < 8
    with pytest.raises(BadInput, match="Expected one input"):
        prune(network, images, bytes=1000)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_network_of_two_outputs_keeps_both_as_wide_as_they_were():
    network = LAYERS["two outputs"].make().eval()
    smaller = prune(network, torch.randn(2, *SMALL), keep_macs=0.5, align=1)
    assert {name: value.shape for name, value in smaller(torch.randn(3, *SMALL)).items()} == {
        "kind": (3, 5),
        "colour": (3, 4),
    }


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_heads_that_a_user_names_stay():
    network = ATTENTION["attention in one tensor"].make().eval()
    images = torch.randn(2, *SMALL)
    assert prune(network, images, pattern="heads", keep_macs=0.9).mix.num_heads < 3
    assert prune(network, images, keep_macs=0.7, align=1, keep=("mix.qkv",)).mix.num_heads == 3


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_widths_are_aligned_where_one_unit_is_many_channels():
    """Two of four groups of six positions are removed at once: eight channels. A group of a norm is eight by itself."""
    network = nn.Sequential(
        nn.Conv2d(3, 24, 1), nn.Conv2d(24, 24, 3, groups=4), nn.Conv2d(24, 64, 1), nn.GroupNorm(8, 64), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5),
    ).eval()  # fmt: skip
    units = find_dependency_groups(network, torch.randn(2, *SMALL))
    assert sorted(units.channels) == [4] * 12 + [8] * 8
    smaller = prune(network, torch.randn(2, *SMALL), keep_macs=0.4, align=8)
    widths = [layer.out_channels for layer in smaller[:3]]
    assert all(width % 8 == 0 for width in widths)
    assert widths[0] < 24
    assert widths[2] < 64
