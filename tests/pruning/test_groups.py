"""Groups are right in value, not only in shape.

Two properties say so without a second implementation. *Dead channels*: units whose weights are all
zero can go without
a change of the outputs. *Consumers*: taking units away is the same as letting nothing read them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_networks import TracedNetwork, assert_equal
from tiny_networks_attention import ATTENTION
from tiny_networks_layers import LAYERS
from tiny_networks_shapes import SHAPES

from espalier.pruning.budgets import Problem, global_budget
from espalier.pruning.scores.magnitude import magnitude
from espalier.pruning.surgery import cut

CASES = LAYERS | SHAPES | ATTENTION
REMOVABLE = [name for name, case in CASES.items() if case.units]


@pytest.fixture(scope="module")
def network_of() -> Callable[[str], TracedNetwork]:
    """Each network, traced and traced once."""
    traced: dict[str, TracedNetwork] = {}

    def trace(name: str) -> TracedNetwork:
        if name not in traced:
            traced[name] = TracedNetwork.of(CASES[name])
        return traced[name]

    return trace


@pytest.mark.parametrize("name", CASES)
def test_every_free_channel_and_head_is_found_and_no_other(network_of, name):
    units = network_of(name).units
    assert (units.count, int(units.heads.sum())) == (CASES[name].units, CASES[name].heads)


@pytest.mark.parametrize("name", REMOVABLE)
def test_dead_channels_go_without_a_trace(network_of, name):
    tree = network_of(name)
    dead = tree.without(rows=True)
    assert not torch.allclose(
        tree.outputs(dead), tree.outputs(tree.network)
    )  # what is alive was seen
    smaller = cut(dead, tree.units, tree.kept)
    assert tree.macs(smaller) < tree.macs(dead)
    assert_equal(tree.outputs(smaller), tree.outputs(dead))


@pytest.mark.parametrize("name", REMOVABLE)
def test_a_cut_is_as_if_nothing_read_the_channels(network_of, name):
    tree = network_of(name)
    unread = tree.outputs(tree.without(rows=False))
    assert not torch.allclose(unread, tree.outputs(tree.network))
    assert_equal(tree.outputs(cut(tree.network, tree.units, tree.kept)), unread)


@pytest.mark.parametrize("name", REMOVABLE)
def test_dead_channels_go_first(network_of, name):
    """By magnitude, until half of their work is gone; the very last block may be what comes nearest to the target."""
    tree = network_of(name)
    tree = replace(tree, network=tree.without(rows=True))
    whole, least = tree.cost(np.ones(tree.units.count, bool)), tree.cost(tree.kept)
    scores = magnitude(tree.network, tree.units)
    assert not scores[~tree.kept].any()
    assert (scores[tree.kept] > 0).all()
    chosen = global_budget(Problem.of(tree.units, scores, tree.cost, (whole + least) / 2))
    assert not chosen.all()
    assert np.sum(~chosen & tree.kept) <= 1


@pytest.mark.parametrize("name", REMOVABLE)
def test_the_cost_of_a_cut_is_what_is_counted_afterwards(network_of, name):
    tree = network_of(name)
    fewer = tree.cost(np.ones(tree.units.count, bool)) - tree.cost(tree.kept)
    assert round(fewer) == tree.macs(tree.network) - tree.macs(
        cut(tree.network, tree.units, tree.kept)
    )
