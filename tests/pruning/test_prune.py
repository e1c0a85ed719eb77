"""The contract of `prune`: remaining work, widths, refusals, and that its input stays as it was."""

import warnings

import numpy as np
import pytest
import torch
from properties import example_of
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.errors import BadInput, Notice
from espalier.measures.macs import count_macs
from espalier.models import build
from espalier.pruning import costs, prune
from espalier.pruning.budgets import Problem, global_budget
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.size import Size

SHAPE = (1, 8, 8)


def images(count: int = 2) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def losses(network: nn.Module):
    for seed in range(2):
        batch = torch.randn(16, *SHAPE, generator=torch.Generator().manual_seed(seed))
        yield F.cross_entropy(network(batch), torch.arange(16) % 10)


def resnet(width: int = 16) -> nn.Module:
    return build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": width})


def widths(network: nn.Module) -> dict[str, int]:
    layers = network.named_modules()
    return {
        name: len(layer.weight)
        for name, layer in layers
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


@pytest.mark.parametrize("score", ["magnitude", "taylor"])
@pytest.mark.parametrize(("keep", "align"), [(0.8, 1), (0.5, 8), (0.3, 8), (0.3, 3)])
@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_it_meets_the_target_with_aligned_widths_and_a_quarter_of_each_layer(score, keep, align):
    network = resnet()
    before = widths(network)
    smaller = prune(network, images(), keep_macs=keep, score=score, align=align, losses=losses)
    assert (
        0.85 * keep
        <= count_macs(smaller, example_of(SHAPE)) / count_macs(network, example_of(SHAPE))
        <= keep
    )
    after = widths(smaller)
    assert after != before
    assert all(width % align == 0 or width == before[name] for name, width in after.items())
    assert all(width >= before[name] / 4 for name, width in after.items())
    assert not smaller.training
    assert smaller(images(5)).shape == (5, 10)


def test_a_finer_alignment_comes_nearer():
    """Single channels reach a target to one per cent, and then nothing is told."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        smaller = prune(resnet(), images(), keep_macs=0.6, align=1)
    assert count_macs(smaller, example_of(SHAPE)) >= 0.59 * count_macs(resnet(), example_of(SHAPE))


@pytest.mark.parametrize("align", [1, 8])
def test_every_layer_keeps_a_quarter_and_one_block_at_any_target(align):
    network = resnet()
    units = find_dependency_groups(network.eval(), images())
    cost = costs.macs(network, units)
    kept = global_budget(Problem.of(units, np.ones(units.count), cost, 0, align))
    sizes, left = np.bincount(units.layer), np.bincount(units.layer[kept])
    assert left.tolist() == np.maximum(align, np.ceil(sizes / 4)).tolist()


@pytest.mark.parametrize("keep", [0.7, 0.5, 0.35])
def test_single_channels_meet_the_target_within_two_per_cent_for_any_scores(keep):
    network = resnet()
    units = find_dependency_groups(network.eval(), images())
    cost = costs.macs(network, units)
    target = keep * cost(np.ones(units.count, bool))
    for seed in range(5):
        scores = np.random.default_rng(seed).random(units.count) ** 3
        assert (
            0.98 * target <= cost(global_budget(Problem.of(units, scores, cost, target))) <= target
        )


def test_a_fraction_is_of_the_base():
    """A chain reads 0.7, 0.5 and means it: of the whole, not of what the first cut left."""
    network = resnet()
    base = count_macs(network, example_of(SHAPE))
    first = prune(network, images(), keep_macs=0.7, align=1)
    second = prune(first, images(), keep_macs=0.5, align=1, base=Size(base, 0))
    assert 0.49 * base <= count_macs(second, example_of(SHAPE)) <= 0.5 * base


def test_the_products_of_attention_are_work_too():
    """They cannot be cut, so the layers must give more: the target holds for all that is multiplied."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(1, 8, 1)
            self.up, self.down, self.head = nn.Linear(8, 64), nn.Linear(64, 8), nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x).flatten(2).transpose(1, 2)
            y = F.scaled_dot_product_attention(y, y, y)
            return self.head((y + self.down(self.up(y).relu())).mean(1))

    network = Attention()
    smaller = prune(network, images(), keep_macs=0.8, align=1)
    assert (
        0.79
        <= count_macs(smaller, example_of(SHAPE)) / count_macs(network, example_of(SHAPE))
        <= 0.8
    )
    with pytest.raises(BadInput, match=r"channels that must stay: .*scaled_dot_product_attention"):
        prune(network, images(), keep_macs=0.4, align=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keep_macs": 0.0}, r"Expected `keep_macs` in \(0, 1\]; found 0.0."),
        ({"keep_macs": 1.5}, r"Expected `keep_macs` in \(0, 1\]; found 1.5."),
        (
            {"keep_macs": float("nan")},
            r"Expected `keep_macs` in \(0, 1\]; found nan.",
        ),
        ({"align": 0}, r"Expected `align` of at least 1; found 0."),
        (
            {"score": "size"},
            r"Expected `score` to be one of magnitude, l1, .*, threshold, or .*; found 'size'.",
        ),
        (
            {"score": "taylor"},
            r"Expected losses over training data for `score: taylor`; found none.",
        ),
        (
            {"score": "taylor", "losses": lambda network: iter(())},
            r"Expected a batch of training data for `score: taylor`; found none.",
        ),
        (
            {"keep": ("conv", "stem")},
            r"Expected names of layers of the network in `keep`, such as .*; found 'stem'\.",
        ),
        (
            {"keep_macs": 0.01},
            r"Expected at most [\d,]+ multiply-accumulates after pruning; found [\d,]+, where",
        ),
    ],
)
def test_impossible_requests_are_refused_in_a_sentence(arguments, message):
    network = resnet().train()
    with pytest.raises(BadInput, match=message):
        prune(network, images(), **({"keep_macs": 0.5} | arguments))
    assert network.training


def test_a_network_that_cannot_be_traced_is_refused():
    class Moody(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(BadInput, match=r"Expected a network that torch.export can trace; found: "):
        prune(Moody(), images(), keep_macs=0.5)


def test_a_target_of_the_whole_network_is_reported_and_changes_nothing():
    network = resnet()
    with pytest.warns(Notice, match="Pruning removed nothing"):
        same = prune(network, images(), keep_macs=1.0)
    assert torch.equal(same(images()), network.eval()(images()))


def test_a_missed_target_is_reported():
    with pytest.warns(
        Notice,
        match=r"the nearest aligned widths are [\d.]+ % below. A smaller `align` comes nearer.",
    ):
        prune(resnet(8), images(), keep_macs=0.99)


def test_layers_to_keep_are_kept():
    network = resnet()
    smaller = prune(network, images(), keep_macs=0.6, align=1, keep=("stages.1.0.conv1",))
    assert widths(smaller)["stages.1.0.conv1"] == widths(network)["stages.1.0.conv1"]


@pytest.mark.parametrize("score", ["magnitude", "taylor"])
def test_the_input_stays_as_it_was_and_nothing_leaks_into_a_second_cut(score):
    """Weights and statistics bit for bit, every layer's own mode, what is frozen, no gradients, random numbers."""
    network = build(
        "espalier:wide_resnet", classes=10, shape=SHAPE, arguments={"depth": 10, "dropout": 0.3}
    )
    network.train()
    frozen = network.conv
    frozen.requires_grad_(False)
    network.stages[0].eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    learning = [parameter.requires_grad for parameter in network.parameters()]
    random = torch.get_rng_state()
    first = prune(network, images(), keep_macs=0.6, score=score, losses=losses, align=1)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == learning
    assert all(parameter.grad is None for parameter in network.parameters())
    second = prune(network, images(), keep_macs=0.6, score=score, losses=losses, align=1)
    assert torch.equal(first(images()), second(images()))


@pytest.mark.parametrize("score", ["magnitude", "taylor"])
def test_frozen_weights_are_pruned_like_others_and_stay_frozen(score):
    network = resnet()
    with torch.no_grad():
        free = prune(network, images(), keep_macs=0.6, score=score, losses=losses, align=1)
        frozen = prune(
            network.requires_grad_(False),
            images(),
            keep_macs=0.6,
            score=score,
            losses=losses,
            align=1,
        )
    assert torch.equal(free(images()), frozen(images()))
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_one_image_and_double_precision_will_do():
    network = resnet().double()
    smaller = prune(network, images(1).double(), keep_macs=0.6, align=1)
    assert smaller(images(3).double()).dtype == torch.double


def test_channels_inside_of_a_layer_to_keep_stay():
    stem = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3))
    network = nn.Sequential(stem, nn.ReLU(), nn.Conv2d(16, 32, 3), nn.Flatten(), nn.Linear(128, 10))
    smaller = prune(network, images(), keep_macs=0.8, align=1, keep=("0",))
    assert widths(smaller) | {"2": 32} == widths(network)
    assert widths(smaller)["2"] < 32


@pytest.mark.parametrize("keep", [(), ("0",)])
@pytest.mark.parametrize(
    "target",
    [{"keep_macs": 1.0}, {"score": "threshold", "below": 0.1}, {"below_mean": 0.5}],
    ids=str,
)
def test_a_network_without_removable_groups_stays_whole(target, keep):
    """One layer, or one whose outputs stay, before the classifier."""
    layers = [nn.Linear(8, 8), nn.ReLU()] if keep else []
    network, example = nn.Sequential(*layers, nn.Linear(8, 3)), torch.randn(2, 8)
    with pytest.warns(Notice, match="Pruning removed nothing"):
        smaller = prune(network, example, keep=keep, **target)
    assert torch.equal(smaller(example), network(example))
