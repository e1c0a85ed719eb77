"""Low-rank factorization: the best approximation of each rank, the target, and what can follow."""

import warnings

import numpy as np
import pytest
import torch
from cases import NETWORKS
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import (
    assert_equal_outputs,
    assert_equal_weights,
    assert_explains,
    assert_input_untouched,
    assert_random_numbers_untouched,
    example_of,
)
from torch import nn

from espalier.coding import share
from espalier.coding.packed import decode, encode
from espalier.errors import BadInput, Notice
from espalier.factorization import factorize
from espalier.factorization.low_rank import factorize_layer, factors, weight_matrix
from espalier.factorization.ranks import Candidate, choose_ranks, largest_saving, options_of
from espalier.folding import fold_batch_norms, fold_linears
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build, load, save
from espalier.models.attention import make_attention_prunable
from espalier.models.structure import Masked, Replaced, Shared, edits_of, record
from espalier.pruning import prune

LAYERS = {
    "linear": (lambda: nn.Linear(7, 5), (3, 7)),
    "linear without bias": (lambda: nn.Linear(4, 9, bias=False), (2, 6, 4)),
    "conv": (lambda: nn.Conv2d(3, 6, 3, padding=1), (2, 3, 8, 8)),
    "strided": (lambda: nn.Conv2d(4, 5, (3, 1), stride=2, dilation=2, bias=False), (2, 4, 9, 9)),
    "reflect": (lambda: nn.Conv2d(2, 7, 3, padding=1, padding_mode="reflect"), (2, 2, 6, 6)),
    "same": (lambda: nn.Conv1d(3, 4, 5, padding="same"), (2, 3, 11)),
    "3d": (lambda: nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4)),
}


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build(
        "espalier:resnet", classes=10, shape=(1, 16, 16), arguments={"depth": 8, "width": 8}
    )
    network(torch.randn(8, 1, 16, 16))
    return network.eval()


EXAMPLE = torch.zeros(2, 1, 16, 16)


def small(network, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # that so narrow layers miss a target is no matter
        return factorize(network, EXAMPLE, **{"align": 1, **options})


@pytest.mark.parametrize(("make", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_pair_of_full_rank_computes_the_layer(make, shape):
    torch.manual_seed(0)
    layer = make()
    pair = factorize_layer(layer, min(weight_matrix(layer).shape))
    x = torch.randn(shape)
    torch.testing.assert_close(pair(x), layer(x), rtol=1e-4, atol=1e-5)
    assert (pair[0].bias, pair[1].bias is None) == (None, layer.bias is None)


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_no_other_matrix_of_a_rank_is_nearer_to_the_weight(outputs, inputs, seed):
    """Eckart and Young 1936: the error is the energy of the singular values that are dropped."""
    generator = torch.Generator().manual_seed(seed)
    layer = nn.Linear(inputs, outputs)
    layer.weight.data = torch.randn(outputs, inputs, generator=generator)
    weight = weight_matrix(layer)
    for rank in range(1, min(outputs, inputs)):
        first, second = factors(layer, rank)
        error = (weight - second @ first).norm()
        dropped = torch.linalg.svdvals(weight)[rank:].norm()
        torch.testing.assert_close(error, dropped)
        for _ in range(5):
            basis = torch.randn(rank, inputs, generator=generator, dtype=torch.float64)
            closest = weight @ torch.linalg.pinv(basis) @ basis  # best with these rows
            assert (weight - closest).norm() >= error * (1 - 1e-9)


def test_both_factors_have_one_norm():
    first, second = factors(nn.Linear(6, 5), 3)
    torch.testing.assert_close(first.norm(), second.norm())


def candidates():
    generator = np.random.default_rng(0)
    sizes = [("a", 16, 72, 64), ("b", 32, 144, 16), ("c", 10, 32, 1), ("d", 3, 3, 5)]
    return [
        Candidate(name, m, n, uses, np.sort(generator.exponential(size=min(m, n)))[::-1])
        for name, m, n, uses in sizes
    ]


@pytest.mark.parametrize("align", [1, 2, 8])
@pytest.mark.parametrize("part", [0.05, 0.3, 0.6, 1.0])
def test_ranks_are_aligned_and_save_what_is_needed(align, part):
    layers = candidates()
    needed = part * largest_saving(layers, align)
    ranks = choose_ranks(layers, needed, align)
    assert sum(one.saved(ranks[one.name]) for one in layers if one.name in ranks) >= needed
    assert all(rank % align == 0 for rank in ranks.values())


def test_a_layer_that_no_rank_makes_cheaper_stays():
    assert options_of(candidates()[3], 1) == [options_of(candidates()[3], 1)[0]]  # rank 1: 9 to 6
    tiny = Candidate("e", 2, 2, 1, np.array([3.0, 1.0]))  # rank 1 costs 2 + 2, as the weight does
    assert options_of(tiny, 1) == []
    assert choose_ranks([tiny], 1, 1) == {}


def test_ranks_lose_little_more_than_the_best_choice():
    """Against all combinations of two layers; greedy steps can only miss by the last one."""
    layers = candidates()[:2]
    options = [options_of(layer, 4) for layer in layers]
    for part in (0.2, 0.5, 0.8):
        needed = part * largest_saving(layers, 4)
        best = min(
            one.loss + other.loss
            for one in options[0]
            for other in options[1]
            if one.saved + other.saved >= needed
        )
        ranks = choose_ranks(layers, needed, 4)
        found = sum(layer.losses[ranks[layer.name] - 1] for layer in layers if layer.name in ranks)
        assert found <= best * 1.5 + 0.05


def test_zero_weights_can_be_factorized():
    zero = Candidate("z", 8, 8, 1, np.zeros(8))
    assert choose_ranks([zero], 1, 1)["z"] >= 1
    pair = factorize_layer(nn.Linear(3, 3), 1)
    nn.init.zeros_(pair[0].weight)
    assert torch.isfinite(pair(torch.ones(1, 3))).all()


@pytest.mark.parametrize("target", ["keep_macs", "keep_parameters"])
@pytest.mark.parametrize("fraction", [0.9, 0.6, 0.35])
def test_the_target_is_reached_and_not_exceeded(network, target, fraction):
    with assert_input_untouched(network), assert_random_numbers_untouched():
        smaller = small(network, **{target: fraction})
    measure = {
        "keep_macs": lambda one: count_macs(one, example_of((1, 16, 16))),
        "keep_parameters": count_parameters,
    }[target]
    assert 0.9 * fraction * measure(network) < measure(smaller) <= fraction * measure(network)
    assert not smaller.training


def test_the_fraction_may_refer_to_an_ancestor(network):
    base = 2 * count_macs(network, example_of((1, 16, 16)))
    smaller = small(network, keep_macs=0.3, base=base)
    assert count_macs(smaller, example_of((1, 16, 16))) <= 0.3 * base


def test_nothing_changes_where_the_target_is_met(network):
    with pytest.warns(Notice, match="changed nothing"):
        whole = factorize(network, EXAMPLE, keep_macs=1.0)
    assert_equal_weights(whole, network)
    assert edits_of(whole) == ()


def test_ranks_are_multiples_of_align_and_kept_layers_stay(network):
    smaller = small(network, keep_macs=0.7, align=4, keep=["stages.2", "head"])
    replaced = [edit for edit in edits_of(smaller) if isinstance(edit, Replaced)]
    assert replaced
    for edit in replaced:
        assert edit.by.layers[0].arguments["out_channels"] % 4 == 0
        assert not edit.layer.startswith(("stages.2", "head"))


@pytest.mark.parametrize("kind", [Masked, Shared])
def test_masked_and_shared_weights_are_not_factorized(network, kind):
    record(network, kind(("stages.2.0.conv2.weight",)))
    smaller = small(network, keep_macs=0.7)
    assert isinstance(smaller.stages[2][0].conv2, nn.Conv2d)
    assert kind(("stages.2.0.conv2.weight",)) in edits_of(smaller)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["neither"]),
        ({"keep_macs": 0.5, "keep_parameters": 0.5}, ["`keep_macs` and `keep_parameters`"]),
        ({"keep_macs": 0.0}, ["`keep_macs` in (0, 1]", "0.0"]),
        ({"keep_parameters": 1.5}, ["`keep_parameters`", "1.5"]),
        ({"keep_macs": 0.01}, ["`keep_macs` of at least 0.", "0.01", "`align`"]),
        ({"keep_macs": 0.5, "align": 0}, ["`align`", "0"]),
        ({"keep_macs": 0.5, "keep": ["nose"]}, ["`keep`", "'nose'"]),
        ({"keep_macs": 0.5, "keep": ["conv", "stages", "head"]}, ["at least 1,", "`keep`"]),
    ],
)
def test_a_wrong_argument_is_refused_by_name(network, options, words):
    with pytest.raises(BadInput) as caught:
        small(network, **options)
    assert_explains(caught.value, *words)


class ReadsWeight(nn.Module):
    """Calls a layer, and multiplies by its weight once more."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, x):
        return self.layer(x) @ self.layer.weight


def test_a_layer_whose_weight_is_used_without_a_call_is_refused():
    with pytest.raises(BadInput) as caught:
        factorize(ReadsWeight(), torch.zeros(2, 16), keep_parameters=0.7, align=1)
    assert_explains(caught.value, "weight")


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_attention_grouped_and_tied_layers_stay():
    torch.manual_seed(0)
    tied = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16), nn.Linear(16, 16))
    tied[2].weight = tied[0].weight
    smaller = factorize(tied, torch.zeros(2, 16), keep_parameters=0.8, align=1)
    assert [type(layer).__name__ for layer in smaller] == ["Linear", "ReLU", "Linear", "Sequential"]
    grouped = nn.Sequential(nn.Conv2d(16, 16, 3, groups=2), nn.Conv2d(16, 16, 3))
    smaller = factorize(grouped, torch.zeros(2, 16, 8, 8), keep_parameters=0.8, align=1)
    assert [type(layer).__name__ for layer in smaller] == ["Conv2d", "Sequential"]
    attention = build(
        "user_package:everything", classes=4, shape=(1, 8, 8), trusted=["user_package"]
    )
    make_attention_prunable(attention)
    keep = ["stem", "blocks", "widen", "head"]
    example = torch.zeros(2, 1, 8, 8)
    smaller = factorize(attention, example, keep_parameters=0.98, align=1, keep=keep)
    replaced = [edit.layer for edit in edits_of(smaller) if isinstance(edit, Replaced)]
    assert any(name.startswith("attention.mlp") for name in replaced)
    assert not any("self_attention" in name for name in replaced)


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_a_factorized_network_is_saved_packed_and_loaded_bit_for_bit(case, tmp_path):
    torch.manual_seed(3)
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    network(torch.randn(8, *case.shape))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        example = torch.zeros(2, *case.shape)
        smaller = factorize(network, example, keep_parameters=0.75, align=1)
    with assert_random_numbers_untouched():
        save(smaller, tmp_path)
        again, unpacked = load(tmp_path), decode(encode(smaller), "it")
    for one in (again, unpacked):
        assert_equal_weights(one, smaller)
        assert edits_of(one) == edits_of(smaller) != ()
        assert_equal_outputs(one, smaller, torch.randn(4, *case.shape))


def further(network):
    """The operations after a factorization."""
    yield "prune", prune(network, EXAMPLE, keep_macs=0.7, align=1)
    yield "mask", prune(network, EXAMPLE, pattern="weights", sparsity=0.5)
    yield "fold norms", fold_batch_norms(network, EXAMPLE)
    yield "fold linears", fold_linears(network, EXAMPLE)
    yield "share", share(network, bits=3)
    yield "factorize", small(network, keep_macs=0.8)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_factorized_network_is_changed_further_saved_and_packed(network, tmp_path):
    smaller = small(network, keep_macs=0.6)
    x = torch.randn(4, 1, 16, 16)
    for name, changed in further(smaller):
        save(changed, tmp_path / name)
        assert_equal_outputs(load(tmp_path / name), changed, x)
        assert_equal_outputs(decode(encode(changed), name), changed, x)


def test_folding_does_not_undo_a_factorization(network):
    smaller = small(network, keep_macs=0.6)
    folded = fold_linears(smaller, EXAMPLE)
    assert count_parameters(folded) == count_parameters(smaller)


def test_the_linear_layers_of_an_encoder_of_torch_stay():
    """Its fast path reads their weights itself."""
    encoder = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    network = nn.Sequential(
        nn.Linear(16, 32), encoder, nn.Flatten(), nn.Linear(160, 64), nn.Linear(64, 10)
    )
    example = torch.randn(2, 5, 16)
    smaller = factorize(network.eval(), example, keep_parameters=0.9)
    assert isinstance(smaller[1].linear1, nn.Linear)
    assert isinstance(smaller[3], nn.Sequential)
    with torch.no_grad():
        assert smaller(example).shape == (2, 10)
