"""Sizes that a forward pass spells are rewritten where the trace says what they must be."""

import json

import numpy as np
import pytest
import torch
from properties import assert_equal_outputs, assert_explains
from spelling_networks import (
    IMAGE,
    PRUNED,
    TOKENS,
    DividedBehindANorm,
    DividedByWidth,
    HeadOfTraining,
    Normalised,
    ScaledByWidth,
    Tutorial,
    make,
)
from tiny_networks import Case, TracedNetwork, assert_equal
from torch import nn
from torch.nn import functional as F

from espalier.coding import pack, unpack
from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.measures.macs import count_macs
from espalier.models import Architecture, load, save
from espalier.models.structure import Respelled, edits_of, remove, replace_layer
from espalier.pruning import prune
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.surgery import cut
from espalier.pruning.surgery.respelling import respell, spelling_calls

pytestmark = pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
HALF = {"keep_macs": 0.5, "align": 1, "budget": "uniform"}
TRUSTED = ("spelling_networks",)


@pytest.fixture(scope="module")
def halved():
    """Each network and its half, pruned once."""
    known = {}

    def half(kind):
        if kind not in known:
            torch.manual_seed(0)
            network = make(kind).eval()
            known[kind] = network, prune(network, inputs(kind), **HALF)
        return known[kind]

    return half


def inputs(kind, count=2):
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, *PRUNED[kind][1], generator=generator)


def spellings(network):
    return [one for edit in edits_of(network) if isinstance(edit, Respelled) for one in edit.sizes]


@pytest.mark.parametrize("kind", PRUNED)
def test_it_is_cut_to_half_and_the_sizes_are_recorded(halved, kind):
    network, smaller = halved(kind)
    assert count_macs(smaller, inputs(kind)) <= 0.5 * count_macs(network, inputs(kind))
    assert spellings(smaller)
    assert not spellings(network)
    assert smaller(inputs(kind, 7)).shape == (7, 5)


@pytest.mark.parametrize("kind", [one for one in PRUNED if one != "a layer norm"])  # which mixes
def test_it_computes_what_the_whole_one_does_where_nothing_reads_what_was_removed(kind):
    torch.manual_seed(0)
    tree = TracedNetwork.of(Case(PRUNED[kind][0], 0, (PRUNED[kind][1],)))
    first = np.unique(tree.units.layer, return_index=True)[1]
    tree.kept[first] = False  # of every layer something goes
    smaller = cut(tree.network, tree.units, tree.kept)
    calls = spelling_calls(tree.network, tree.images)
    respell(smaller, calls, tree.units, tree.kept, tree.images)
    unread = tree.outputs(tree.without(rows=False))
    assert not torch.allclose(unread, tree.outputs(tree.network))
    assert spellings(smaller)
    assert_equal(tree.outputs(smaller), unread)


@pytest.mark.parametrize("kind", PRUNED)
def test_it_comes_back_from_its_folder_and_its_packed_file(halved, kind, tmp_path):
    _, smaller = halved(kind)
    save(smaller, tmp_path / "model")
    again = load(tmp_path / "model", trusted=TRUSTED)
    assert edits_of(again) == edits_of(smaller)
    assert_equal_outputs(again, smaller, inputs(kind, 5))
    pack(smaller, tmp_path / "packed")
    assert_equal_outputs(unpack(tmp_path / "packed", trusted=TRUSTED), smaller, inputs(kind, 5))


@pytest.mark.parametrize("kind", PRUNED)
def test_it_trains_and_is_exported_for_every_batch(halved, kind, tmp_path):
    _, smaller = halved(kind)
    save(smaller, tmp_path / "model")
    network = load(tmp_path / "model", trusted=TRUSTED).train()
    images, labels = inputs(kind, 6), torch.arange(6) % 5
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    losses = []
    for _ in range(3):
        loss = F.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(weight.grad is not None for weight in used(network))
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    export(network.eval(), tmp_path / "model.onnx", images, nn.Identity())  # compares the outputs


def used(network):
    """The weights that the forward pass uses: the layer norm replaces attention."""
    unused = ("q.", "k.", "v.", "o.") if isinstance(network, Normalised) else ()
    return [one for name, one in network.named_parameters() if not name.startswith(unused)]


def test_a_pruned_one_is_pruned_again(tmp_path):
    torch.manual_seed(0)
    network = make("a product of numbers").eval()
    images = inputs("a product of numbers")
    half = prune(network, images, **HALF)
    quarter = prune(half, images, keep_macs=0.25, align=1, budget="uniform", base=network)
    assert [one.before for one in spellings(quarter)] == [256, 256]
    assert count_macs(quarter, images) <= 0.25 * count_macs(network, images)
    save(quarter, tmp_path)
    assert_equal_outputs(load(tmp_path, trusted=TRUSTED), quarter, images)


def test_a_network_whose_sizes_follow_has_no_such_edit():
    network = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4096, 5)
    )
    smaller = prune(network.eval(), torch.randn(2, *IMAGE), keep_macs=0.5, align=1)
    assert edits_of(smaller) == ()
    assert not smaller._forward_pre_hooks


def test_the_edit_of_a_replaced_layer_is_dropped(halved, tmp_path):
    _, smaller = halved("a layer that unflattens")
    save(smaller, tmp_path / "model")
    network = load(tmp_path / "model", trusted=TRUSTED)
    (own,) = spellings(network)
    assert own.layer == "map"
    replace_layer(network, "map", nn.Flatten())
    assert not spellings(network)


def test_the_edit_of_the_network_outlives_the_removal_of_a_layer(halved, tmp_path):
    _, smaller = halved("groups of a saved filter")
    save(smaller, tmp_path / "model")
    network = load(tmp_path / "model", trusted=TRUSTED)
    before = spellings(network)
    remove(network, ["last"])
    assert spellings(network) == before
    save(network, tmp_path / "again")
    again = load(tmp_path / "again", trusted=TRUSTED)
    assert spellings(again) == before


def test_an_edit_with_an_unknown_key_is_refused(halved, tmp_path):
    _, smaller = halved("a product of numbers")
    save(smaller, tmp_path)
    content = json.loads((tmp_path / "architecture.json").read_text())
    assert content["edits"][0]["edit"] == "respelled"
    content["edits"][0]["sizes"][0]["colour"] = 3
    with pytest.raises(BadInput) as refusal:
        Architecture.from_json(content)
    assert_explains(refusal.value, "colour")


REFUSED = {
    "a number from which values are computed": (
        DividedByWidth,
        IMAGE,
        ["same numbers", "x.shape[1]", "keep"],
    ),
    "a number behind a norm": (DividedBehindANorm, TOKENS, ["same numbers", "y.shape[-1]", "keep"]),
    "another meaning in training": (HeadOfTraining, IMAGE, ["can be trained", "keep"]),
    "a scale computed from a width": (ScaledByWidth, TOKENS, ["widths that a forward pass spells"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_it_is_refused_in_a_sentence_where_it_is_not_provable(kind):
    torch.manual_seed(0)
    network, shape, words = REFUSED[kind]
    with pytest.raises(BadInput) as refusal:
        prune(network().eval(), torch.randn(2, *shape), **HALF)
    assert_explains(refusal.value, *words)


def test_a_call_of_another_operand_keeps_its_size():
    """Two views spell 16: one of what was cut, one of what was not."""
    torch.manual_seed(0)
    smaller = prune(make("a non-local block").eval(), torch.randn(2, *IMAGE), **HALF)
    assert smaller.theta.out_channels == smaller.phi.out_channels == 16
    assert {one.operand for one in spellings(smaller)} == {((1, smaller.g.out_channels),)}


def test_nothing_is_rewritten_where_nothing_is_cut():
    torch.manual_seed(0)
    network, images = Tutorial().eval(), torch.randn(2, *IMAGE)
    groups = find_dependency_groups(network, images)
    kept = np.ones(groups.count, bool)
    whole = cut(network, groups, kept)
    respell(whole, spelling_calls(network, images), groups, kept, images)
    assert edits_of(whole) == ()
