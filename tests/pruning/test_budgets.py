"""Budgets and costs: what is foreseen is what is counted, and each budget does what its name says."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import NETWORKS
from properties import example_of
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from espalier.errors import BadInput
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build
from espalier.pruning import costs, prune
from espalier.pruning.budgets import (
    BUDGETS,
    Layer,
    Limit,
    Portion,
    Problem,
    global_budget,
    latency,
    sensitivity,
    uniform,
)
from espalier.pruning.costs.deployment import Deployment, file_bytes
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.surgery import cut

SHAPE = (1, 8, 8)


def images(*shape) -> torch.Tensor:
    return torch.randn(2, *(shape or SHAPE), generator=torch.Generator().manual_seed(1))


def resnet(width=16):
    return build(
        "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": width}
    ).eval()


def transformer():
    return VisionTransformer(16, 8, 2, 4, 32, 48, num_classes=7).eval()


MADE = {
    str(case): (
        lambda case=case: build(
            case.factory, classes=10, shape=case.shape, arguments=case.arguments
        ),
        case.shape,
    )
    for case in NETWORKS
}
MADE["transformer"] = (transformer, (3, 16, 16))


@pytest.mark.parametrize("name", MADE)
def test_predicted_costs_equal_counted_costs(name):
    """Predicted costs are exact for any choice of groups, to the last multiplication and parameter."""
    make, shape = MADE[name]
    network = make().eval()
    units = find_dependency_groups(network, images(*shape))
    work = costs.macs(network, units).with_whole(count_macs(network, example_of(shape)))
    numbers = costs.parameters(network, units)
    assert units.count
    for seed in range(3):
        kept = np.random.default_rng(seed).random(units.count) < (0.9, 0.5, 0.3)[seed]
        for layer in np.unique(units.layer):
            kept[np.flatnonzero(units.layer == layer)[0]] = True
        smaller = cut(network, units, kept)
        assert work(kept) == count_macs(smaller, example_of(shape))
        assert numbers(kept) == count_parameters(smaller)


@pytest.mark.parametrize(
    ("target", "measure"),
    [
        ("keep_macs", lambda network: count_macs(network, example_of(SHAPE))),
        ("keep_parameters", count_parameters),
    ],
)
@pytest.mark.parametrize("budget", ["global", "uniform"])
def test_a_fraction_is_met_by_single_channels(target, measure, budget):
    network = resnet()
    smaller = prune(network, images(), **{target: 0.5}, align=1, budget=budget)
    assert 0.96 <= measure(smaller) / (0.5 * measure(network)) <= 1


@pytest.mark.parametrize("budget", ["global", "uniform"])
@pytest.mark.parametrize("parameters", [0.6, 0.35, 0.2])
def test_all_limits_hold_and_the_tightest_is_near(parameters, budget):
    network = resnet(width=32)
    smaller = prune(
        network, images(), keep_macs=0.5, keep_parameters=parameters, align=1, budget=budget
    )
    found = [
        count_macs(smaller, example_of(SHAPE)) / count_macs(network, example_of(SHAPE)) / 0.5,
        count_parameters(smaller) / count_parameters(network) / parameters,
    ]
    assert 0.98 <= max(found) <= 1
    if budget == "global" and parameters == 0.35:  # both are in reach, and the budget can choose
        assert min(found) >= 0.96


def test_two_limits_cost_less_importance_than_one_after_the_other():
    """Layer 0 is work and layer 1 is bytes: the second limit touches layer 1 alone."""
    problem = units_of([16, 16], [1, 1])
    layer = np.repeat([0, 1], 16)
    terms = [[(16, np.flatnonzero(layer == number))] for number in range(2)]
    work = costs.cost("work", 32, terms, costs.products([10, 1]))
    size = costs.cost("bytes", 32, terms, costs.products([1, 10]))
    both = replace(problem, limits=(Limit.of(work, 140), Limit.of(size, 120)))
    kept = global_budget(both)
    assert both.holds(kept)
    left = [int(kept[layer == number].sum()) for number in range(2)]
    assert left == [13, 10]


def test_layers_of_equal_scores_keep_equal_fractions_of_their_work():
    """Whatever they compute: the weight of a layer is the time that it takes part in."""
    network = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),
        nn.Conv2d(64, 256, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(0.1)
    smaller = prune(network, images(3, 32, 32), keep_macs=0.5, align=1)
    kept = [smaller[at].weight.numel() / network[at].weight.numel() for at in (0, 3, 6, 10)]
    assert max(kept) - min(kept) < 0.1


def test_wide_layers_keep_whole_blocks_of_a_runtime():
    """A step of 8 may cut in half what a runtime computes as a whole: the choice avoids it."""
    torch.manual_seed(0)
    network = build("torchvision:resnet18", classes=10, shape=(3, 64, 64)).eval()
    units = find_dependency_groups(network, images(3, 64, 64))
    smaller = prune(network, images(3, 64, 64), keep_macs=0.5)
    widths = [smaller.get_parameter(layer.weight).shape[0] for layer in units.compute_layers]
    assert sum(width % 16 == 8 for width in widths) <= 2  # the last ones, near the limit


def test_the_modelled_time_is_that_of_its_definition():
    """Two linear layers after a cut of the width between them, as small and as larger than a cache."""
    for width, kept, blocks in ((64, 24, 32), (1024, 200, 208)):
        first, second = nn.Linear(512, width, bias=False), nn.Linear(width, 10, bias=False)
        network = nn.Sequential(first, second).eval()
        units = find_dependency_groups(network, torch.zeros(2, 512))
        beyond_cache = max(0.0, 1 - 2**18 / (522 * width))
        memory = 16 * beyond_cache * 522 * kept + 8 * (kept + 10)
        for align, computed in ((8, blocks), (1, kept)):
            time = costs.modelled_time(network, units, align)
            assert time(np.arange(width) < kept) == pytest.approx(522 * computed + memory)


def test_the_bytes_are_those_of_the_file():
    network = resnet()
    deployment = Deployment.usual(images())
    most = 0.6 * file_bytes(network, deployment)
    smaller = prune(network, images(), bytes=most, align=1)
    assert 0.98 * most <= file_bytes(smaller, deployment) <= most


def units_of(widths: list[int], costs_each: list[float], scores=None) -> Problem:
    """Layers of units that cost the same each, whatever else is there."""
    layer = np.repeat(np.arange(len(widths)), widths)
    terms = [
        [(width, np.where(layer == number, np.arange(len(layer)), -1)[layer == number])]
        for number, width in enumerate(widths)
    ]
    cost = costs.cost("grams", len(layer), terms, costs.products(costs_each))
    scores = np.random.default_rng(0).random(len(layer)) if scores is None else scores
    groups = type("Groups", (), {"count": len(layer), "layer": layer})()
    return Problem.of(groups, np.asarray(scores, float), cost, most=0.0)


def cost_of(problem: Problem) -> costs.Cost:
    return problem.limits[0].cost


def limited(problem: Problem, most: float, time=None, **changes) -> Problem:
    cost = cost_of(problem)
    return replace(problem, limits=(Limit(cost, most, time or cost),), **changes)


@pytest.mark.parametrize("seed", range(5))
def test_global_lets_the_lowest_scores_of_all_layers_go_where_all_cost_the_same(seed):
    scores = np.random.default_rng(seed).random(30)
    problem = units_of([10, 20], [1, 1], scores)
    kept = global_budget(limited(problem, 22))
    assert set(np.flatnonzero(~kept)) == set(np.argsort(scores)[:8])


def test_global_weighs_what_is_lost_against_what_is_saved():
    """Units of the second layer cost ten times as much and score four times as high: they go first."""
    problem = units_of([10, 10], [1, 10], [1.0] * 10 + [4.0] * 10)
    assert np.flatnonzero(~global_budget(limited(problem, 60))).tolist() == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("keep", [0.8, 0.6, 0.5, 0.4])
def test_uniform_keeps_equal_fractions(keep):
    widths = [8, 16, 32, 64]
    problem = units_of(widths, [4, 3, 2, 1])
    whole = cost_of(problem)(np.ones(problem.count, bool))
    kept = uniform(limited(problem, keep * whole))
    fractions = [np.mean(kept[part]) for part in np.split(np.arange(120), np.cumsum(widths)[:-1])]
    assert max(fractions) - min(fractions) <= 1 / 8
    assert keep * whole - 4 < cost_of(problem)(kept) <= keep * whole  # one unit less would not do


def test_uniform_cuts_a_network_alike_everywhere():
    network = resnet()
    units = find_dependency_groups(network, images())
    smaller = prune(network, images(), keep_macs=0.5, align=1, budget="uniform")
    fractions = [
        smaller.get_parameter(work.weight).shape[0] / network.get_parameter(work.weight).shape[0]
        for work in units.compute_layers
        if not work.weight.startswith("head")
    ]
    assert max(fractions) - min(fractions) <= 1 / 16
    assert 0.6 < min(fractions) < 0.8  # about the root of a half


def additive(problem: Problem, rises: list[list[float]]):
    """A loss that rises by so much with each unit of a layer that goes, whatever else goes."""
    layers = [
        np.concatenate([portion.members for portion in layer.portions]) for layer in problem.layers
    ]

    def loss(kept):
        return 1.0 + sum(
            sum(rise[: int((~kept[members]).sum())])
            for members, rise in zip(layers, rises, strict=True)
        )

    return loss


@pytest.mark.parametrize("seed", range(5))
def test_sensitivity_finds_the_cut_that_raises_the_loss_the_least(seed):
    """Against all choices of four layers that may lose three units; each unit raises it more than the one before."""
    random = np.random.default_rng(seed)
    rises = np.sort(random.random((4, 3)), axis=1)
    problem = units_of([4] * 4, [1] * 4)
    loss = additive(problem, rises)
    kept = sensitivity(limited(problem, 11, loss=loss))
    best = min(
        sum(rises[layer, :gone].sum() for layer, gone in enumerate(all_gone))
        for all_gone in itertools.product(range(4), repeat=4)
        if sum(all_gone) == 5
    )
    assert (~kept).sum() == 5
    assert loss(kept) - 1 == pytest.approx(best)


def test_a_layer_made_insensitive_on_purpose_is_what_sensitivity_cuts():
    """Its output is multiplied by zero: scores do not see it, the loss does."""
    network = resnet()
    with torch.no_grad():
        network.stages[1][0].bn2.weight.zero_()
    batches = torch.randn(2, 16, *SHAPE, generator=torch.Generator().manual_seed(2))
    wanted = [network(batch).detach() for batch in batches]

    def losses(other):
        yield from (
            F.mse_loss(other(batch), answer) for batch, answer in zip(batches, wanted, strict=True)
        )

    smaller = prune(
        network, images(), keep_macs=0.9, align=1, budget="sensitivity", score="l1", losses=losses
    )
    before, after = network.state_dict(), smaller.state_dict()
    narrower = {
        name.rpartition(".")[0] for name in before if before[name].shape != after[name].shape
    }
    assert narrower == {f"stages.1.0.{layer}" for layer in ("conv1", "bn1", "conv2")}
    assert torch.allclose(smaller(images()), network(images()), atol=1e-5)
    by_score = prune(network, images(), keep_macs=0.9, align=1, score="l1")
    assert not torch.allclose(by_score(images()), network(images()), atol=1e-2)


def test_latency_takes_whole_stairs_and_never_what_saves_no_time():
    """A runtime that computes in blocks of 16, for a cut in steps of 8; one layer costs no time at all."""
    widths = [64, 64, 32]
    layer = np.repeat(np.arange(3), widths)
    terms = [[(width, np.flatnonzero(layer == number))] for number, width in enumerate(widths)]
    work = costs.cost("work", 160, terms, costs.products([1, 1, 1]))
    time = costs.cost(
        "milliseconds", 160, terms, lambda left: np.ceil(left[..., 0] / 16) @ [3.0, 1.0, 0.0]
    )
    groups = type("Groups", (), {"count": 160, "layer": layer})()
    scores = np.random.default_rng(0).random(160)
    scores[layer == 2] *= 0.01
    problem = limited(Problem.of(groups, scores, work, 0.0, align=8), 112, time=time)
    kept = latency(problem)
    left = [int(kept[layer == number].sum()) for number in range(3)]
    assert left[2] == 32
    assert [width % 16 for width in left] == [0, 0, 0]
    assert time(kept) < time(np.ones(160, bool))
    assert work(kept) == 112
    by_score = global_budget(limited(problem, 112))
    assert by_score[layer == 2].sum() < 32


def test_latency_leaves_alone_what_saves_work_and_little_time_unless_nothing_else_is_left():
    """Two layers with as much work each; one of them takes hardly any time, and its scores are next to nothing."""
    layer = np.repeat([0, 1], 32)
    terms = [[(32, np.flatnonzero(layer == number))] for number in range(2)]
    work = costs.cost("work", 64, terms, costs.products([1, 1]))
    time = costs.cost("milliseconds", 64, terms, costs.products([1.0, 0.1]))
    groups = type("Groups", (), {"count": 64, "layer": layer})()
    problem = Problem.of(groups, np.where(layer == 0, 1.0, 1e-6), work, 0.0)
    for most, left in ((48, [16, 32]), (42, [10, 32])):
        kept = latency(limited(problem, most, time=time))
        assert [int(kept[layer == number].sum()) for number in range(2)] == left
    kept = latency(limited(problem, 24, time=time))
    assert work(kept) == 24
    assert kept[layer == 1].sum() < 32


def test_a_limit_that_is_out_of_reach_is_approached_as_far_as_it_goes():
    problem = units_of([8, 8], [1, 2])
    for name, budget in BUDGETS.items():
        kept = budget(limited(problem, 1, loss=lambda kept: float((~kept).sum())))
        assert cost_of(problem)(kept) == 2 + 4, name  # a quarter of each layer stays


def test_portions_are_aligned_and_ascend():
    scores = np.random.default_rng(0).random(20)
    groups = type("Groups", (), {"count": 20, "layer": np.zeros(20, np.int64)})()
    (layer,) = Problem.of(groups, scores, cost_of(units_of([20], [1])), 0.0, align=8).layers
    assert layer == Layer(20, layer.portions, pytest.approx(scores.sum()))
    assert [len(portion.members) for portion in layer.portions] == [4, 8]
    assert isinstance(layer.portions[0], Portion)
    ordered = np.concatenate([portion.members for portion in layer.portions])
    assert ordered.tolist() == np.argsort(scores)[:12].tolist()
    assert [portion.importance for portion in layer.portions] == pytest.approx(
        [scores[ordered[:4]].sum(), scores[ordered[4:]].sum()]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "Expected a target of keep_macs, .*; found none."),
        (
            {"keep_macs": 0.5, "below_mean": 0.5},
            r"Expected several targets to be sizes \(keep_macs, .*\); found `below_mean` beside",
        ),
        ({"bytes": 0}, "Expected `bytes` above 0; found 0."),
        (
            {"milliseconds": float("inf")},
            "Expected `milliseconds` above 0; found inf.",
        ),
        ({"keep_parameters": 1.2}, r"Expected `keep_parameters` in \(0, 1\]"),
        (
            {"sparsity": 0.5},
            "Expected a target of .* for `pattern: channels`; found `sparsity`.",
        ),
        (
            {"pattern": "weights", "keep_macs": 0.5},
            "Expected a target of .* for `pattern: weights`; found `keep_macs`.",
        ),
        (
            {"pattern": "n_of_m", "keep_macs": 0.5},
            "Expected no target for `pattern: n_of_m` but `n` and `m`; found `keep_macs`",
        ),
        (
            {"pattern": "weights", "sparsity": 0.5, "budget": "latency"},
            "Expected `budget` to be one of global, uniform, sensitivity for",
        ),
        (
            {"keep_macs": 0.5, "score": "threshold"},
            "Expected `score: threshold` and the target `below` together",
        ),
        ({"below": 0.5}, "Expected `score: threshold` and the target `below` together"),
        (
            {"bytes": 9, "budget": "latency"},
            "Expected a target in .* for `budget: latency`; found `bytes`",
        ),
        (
            {"keep_macs": 0.5, "budget": "greedy"},
            "Expected `budget` to be one of global, uniform, sensitivity, latency",
        ),
        (
            {"keep_macs": 0.5, "pattern": "rows"},
            "Expected `pattern` to be one of channels, heads, blocks, weights, n_of_m",
        ),
        (
            {"keep_macs": 0.5, "budget": "sensitivity"},
            "Expected losses over training data for .*; found none.",
        ),
        (
            {"pattern": "heads", "keep_macs": 0.5},
            "Expected a network with attention heads that can be removed; found none.",
        ),
        ({"bytes": 2000}, "Expected at most 2,000 bytes after pruning; found"),
    ],
)
def test_contradicting_keywords_are_refused_with_the_reason(arguments, message):
    with pytest.raises(BadInput, match=message):
        prune(resnet(), images(), **arguments)


def test_heads_are_all_that_goes_where_only_heads_may():
    network = transformer()
    smaller = prune(network, images(3, 16, 16), keep_macs=0.85, pattern="heads")
    assert count_macs(smaller, example_of((3, 16, 16))) <= 0.85 * count_macs(
        network, example_of((3, 16, 16))
    )
    before, after = network.state_dict(), smaller.state_dict()
    changed = {
        name.rpartition("self_attention.")[2]
        for name in before
        if before[name].shape != after[name].shape
    }
    assert changed == {"in_proj_weight", "in_proj_bias", "out_proj.weight"}
    left = [layer.self_attention.num_heads for layer in smaller.encoder.layers]
    assert all(1 <= heads <= 4 for heads in left)
    assert min(left) < 4
    assert isinstance(smaller, nn.Module)


def test_below_a_threshold_go_those_that_are_and_no_others():
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10)
    ).eval()
    with torch.no_grad():
        network[0].weight[[1, 4, 5]] *= 0.001
        network[0].bias[[1, 4, 5]] *= 0.001
        smaller = prune(network, images(), score="threshold", below=0.01, align=1)
    kept = [0, 2, 3, 6, 7]
    assert torch.equal(smaller[0].weight, network[0].weight[kept])
