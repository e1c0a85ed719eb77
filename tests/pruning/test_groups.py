"""What is removed together is right, and not only of the right shape.

Two properties say so without a second implementation. *Dead channels*: units whose weights are all zero can go without
a change of the outputs. *Consumers*: taking units away is the same as letting nothing read them.
"""

import copy
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.measures.macs import count_macs
from espalier.models import build, load, save
from espalier.pruning import costs, prune
from espalier.pruning.budgets import Problem, everywhere
from espalier.pruning.scores import magnitude
from espalier.pruning.surgery import cut
from espalier.pruning.units import Units, find_units

SMALL = (3, 8, 8)


class Network(nn.Module):
    """Layers by name, and a forward pass over them; the last layer is a linear one on the mean over space."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        y = self.run(self, x)
        return self.head(y.mean((2, 3)) if y.ndim == 4 else y)


class Scale(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def conv(before: int, after: int, kernel: int = 3, **more: object) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, **more)


def head(width: int) -> nn.Linear:
    return nn.Linear(width, 5)


def offsets(n: nn.Module, x: Tensor) -> Tensor:
    return n.mix(n.norm(torch.cat([n.one(x), n.two(x), n.three(x)], 1)).relu()).relu()


def dense(n: nn.Module, x: Tensor) -> Tensor:
    one = n.one(x)
    two = n.two(n.norm(torch.cat([x, one], 1)).relu())
    three = n.three(torch.cat([one, x, two], dim=1).relu())
    return torch.cat([two, x, one, three], -3).relu()


def grouped(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.norm(n.group(n.first(x).relu())).relu()).relu()


def excite(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    return n.last(y * n.expand(n.reduce(F.adaptive_avg_pool2d(y, 1)).relu()).sigmoid())


def shuffle(n: nn.Module, x: Tensor) -> Tensor:
    y = n.group(n.first(x).relu())
    b, c, h, w = y.shape
    y = y.view(b, 3, c // 3, h, w).transpose(1, 2).contiguous().view(b, c, h, w)
    return n.last(y.relu())


def halves(n: nn.Module, x: Tensor) -> Tensor:
    one, two = n.first(x).chunk(2, 1)
    return n.last(torch.cat([one, n.branch(two).relu()], 1)).relu()


def gate(n: nn.Module, x: Tensor) -> Tensor:
    value, opening = n.first(x).chunk(2, dim=1)
    return n.last(value * opening.sigmoid())


def split(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    one, two = y.split(y.shape[1] // 2, 1)
    return n.last(one * two).relu()


def sliced(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    return n.last(y[:, :4] + y[:, 4:]).relu()


def convnext(n: nn.Module, x: Tensor) -> Tensor:
    x = n.first(x)
    y = n.down(F.gelu(n.up(n.norm(n.depthwise(x).permute(0, 2, 3, 1)))))
    return x + n.scale(y.permute(0, 3, 1, 2))


def shared(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).relu()
    return n.last(n.again(n.again(y).relu()) + n.other(y))


def residual(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    y += n.back(n.inner(y.relu()).relu())
    return n.last(y.relu_())


def fed_back(n: nn.Module, x: Tensor) -> Tensor:
    return n.last((n.first(x) + x).relu())


def rolled(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.second(n.first(x).roll(1, 1)).relu())


def across_channels(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).permute(0, 2, 3, 1)
    return n.last(F.max_pool2d(y, (1, 2)).permute(0, 3, 1, 2))


def mixer(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).flatten(2).transpose(1, 2)  # (N, places, channels)
    return n.last(n.tokens(y).relu().mean(1))


def sequence(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.depthwise(n.first(x.flatten(2)).relu())).mean(2)


def flat(n: nn.Module, x: Tensor) -> Tensor:
    return n.second(torch.flatten(F.max_pool2d(n.first(x).relu(), 4), 1)).relu()


def plain(n: nn.Module, x: Tensor) -> Tensor:
    return n.last(n.second(n.first(x)).relu())


def levelled(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).mean((2, 3))
    return n.second(n.norm(y)).relu()


def attention(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x).flatten(2).transpose(1, 2)
    q, k, v = n.three(y).chunk(3, -1)
    y = y + n.out(F.scaled_dot_product_attention(q, k, v))
    return (y + n.down(F.gelu(n.up(y)))).mean(1)


class Untaught(nn.Module):
    """Adds a table that is not saved with the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(width, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table


def tied() -> nn.Module:
    """Two layers that hold the same weights."""
    network = Network(
        lambda n, x: n.last(n.two(n.one(n.first(x)).relu())).relu(),
        first=conv(3, 8), one=conv(8, 8), two=conv(8, 8), last=conv(8, 4), head=head(4),
    )  # fmt: skip
    network.two.weight = network.one.weight
    return network


@dataclass(frozen=True)
class Case:
    """A network, the shape of its images, and how many units it should have: nothing may be fixed for convenience."""

    make: Callable[[], nn.Module]
    units: int
    shape: tuple[int, int, int] = SMALL


def own(name: str, units: int, shape: tuple[int, int, int] = SMALL, **arguments: object) -> Case:
    return Case(lambda: build(f"espalier:{name}", classes=5, shape=shape, arguments=arguments), units, shape)


def hand(
    forward: Callable[[nn.Module, Tensor], Tensor], units: int, layers: Callable[[], dict[str, nn.Module]]
) -> Case:
    return Case(lambda: Network(forward, **layers()), units)


CASES = {
    "resnet": own("resnet", 8 + 16 + 32 + 8 + 16 + 32, depth=8, width=8),
    "wide_resnet": own("wide_resnet", 16 + 16 + 2 * 32 + 2 * 64, depth=10, widen=1),
    "vgg": own("vgg", 4 + 8 + 2 * 16 + 2 * 32 + 2 * 32, (3, 16, 16), depth=11, width=4),
    "mobilenet": own("mobilenet", 496 + 1824, (3, 16, 16), multiplier=0.25),
    "lenet5": own("lenet5", 20 + 50 + 500, (1, 28, 28)),
    "lenet300": own("lenet300", 400, (1, 8, 8)),
    "mlp": own("mlp", 24, (1, 8, 8), hidden=[16, 8]),
    "concatenation": hand(
        offsets, 4 + 6 + 2 + 8,
        lambda: {"one": conv(3, 4), "two": conv(3, 6, 1), "three": conv(3, 2), "norm": nn.BatchNorm2d(12),
                 "mix": conv(12, 8), "head": head(8)},
    ),
    "dense reuse": hand(
        dense, 4 + 6 + 5,
        lambda: {"one": conv(3, 4), "norm": nn.BatchNorm2d(7), "two": conv(7, 6), "three": conv(13, 5),
                 "head": head(18)},
    ),
    "depthwise": hand(
        grouped, 8 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 8, groups=8), "norm": nn.BatchNorm2d(8), "last": conv(8, 6),
                 "head": head(6)},
    ),
    "depthwise with two filters each": hand(
        grouped, 8 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 16, groups=8), "norm": nn.BatchNorm2d(16),
                 "last": conv(16, 6), "head": head(6)},
    ),
    "depthwise on pixels": hand(
        grouped, 6,
        lambda: {"first": nn.Identity(), "group": conv(3, 6, groups=3), "norm": nn.BatchNorm2d(6), "last": conv(6, 6),
                 "head": head(6)},
    ),
    "grouped convolution": hand(
        grouped, 2 + 3 + 6,
        lambda: {"first": conv(3, 8), "group": conv(8, 12, groups=4), "norm": nn.BatchNorm2d(12), "last": conv(12, 6),
                 "head": head(6)},
    ),
    "squeeze-excitation": hand(
        excite, 8 + 4 + 6,
        lambda: {"first": conv(3, 8), "reduce": conv(8, 4, 1), "expand": conv(4, 8, 1), "last": conv(8, 6),
                 "head": head(6)},
    ),
    "flatten": hand(flat, 6 + 10, lambda: {"first": conv(3, 6), "second": nn.Linear(24, 10), "head": head(10)}),
    "shuffle": hand(
        shuffle, 2 + 4 + 6,
        lambda: {"first": conv(3, 6), "group": conv(6, 12, groups=3), "last": conv(12, 6), "head": head(6)},
    ),
    "chunk": hand(
        halves, 5 + 7 + 6,
        lambda: {"first": conv(3, 10), "branch": conv(5, 7), "last": conv(12, 6), "head": head(6)},
    ),
    "gate": hand(gate, 5 + 6, lambda: {"first": conv(3, 10), "last": conv(5, 6), "head": head(6)}),
    "split": hand(split, 6, lambda: {"first": conv(3, 10), "last": conv(5, 6), "head": head(6)}),
    "slice": hand(sliced, 6, lambda: {"first": conv(3, 8), "last": conv(4, 6), "head": head(6)}),
    "convnext": hand(
        convnext, 6 + 24,
        lambda: {"first": conv(3, 6), "depthwise": conv(6, 6, 7, groups=6), "norm": nn.LayerNorm(6),
                 "up": nn.Linear(6, 24), "down": nn.Linear(24, 6), "scale": Scale(6, 1, 1), "head": head(6)},
    ),
    "layer norm without weights": hand(
        levelled, 6,
        lambda: {"first": conv(3, 8), "norm": nn.LayerNorm(8, elementwise_affine=False), "second": nn.Linear(8, 6),
                 "head": head(6)},
    ),
    "shared consumers": hand(
        shared, 8 + 6,
        lambda: {"first": conv(3, 8), "again": conv(8, 8), "other": conv(8, 8), "last": conv(8, 6), "head": head(6)},
    ),
    "residual": hand(
        residual, 8 + 5 + 6,
        lambda: {"first": conv(3, 8), "inner": conv(8, 5), "back": conv(5, 8), "last": conv(8, 6), "head": head(6)},
    ),
    "sum with pixels": hand(fed_back, 6, lambda: {"first": conv(3, 3), "last": conv(3, 6), "head": head(6)}),
    "bare scale": hand(
        plain, 8 + 6,
        lambda: {"first": conv(3, 8), "second": Scale(1, 8, 1, 1), "last": conv(8, 6), "head": head(6)},
    ),
    "operator without a rule": hand(
        rolled, 7 + 6,
        lambda: {"first": conv(3, 8), "second": conv(8, 7), "last": conv(7, 6), "head": head(6)},
    ),
    "pooled over channels": hand(
        across_channels, 6, lambda: {"first": conv(3, 8), "last": conv(4, 6), "head": head(6)}
    ),
    "convolved over channels": hand(
        mixer, 6,
        lambda: {"first": conv(3, 8), "tokens": nn.Conv1d(64, 5, 1), "last": nn.Linear(8, 6), "head": head(6)},
    ),
    "one dimension": hand(
        sequence, 8 + 6,
        lambda: {"first": nn.Conv1d(3, 8, 3), "depthwise": nn.Conv1d(8, 8, 3, groups=8), "last": nn.Conv1d(8, 6, 1),
                 "head": head(6)},
    ),
    "three dimensions": hand(
        lambda n, x: n.last(n.first(x.unsqueeze(2)).relu()).squeeze(2), 8 + 6,
        lambda: {"first": nn.Conv3d(3, 8, 1), "last": nn.Conv3d(8, 6, 1), "head": head(6)},
    ),
    "table that is not saved": hand(
        plain, 6, lambda: {"first": conv(3, 8), "second": Untaught(8), "last": conv(8, 6), "head": head(6)}
    ),
    "attention": hand(
        attention, 8 + 20,
        lambda: {"first": conv(3, 8), "three": nn.Linear(8, 24), "out": nn.Linear(8, 8), "up": nn.Linear(8, 20),
                 "down": nn.Linear(20, 8), "head": head(8)},
    ),
    "tied weights": Case(tied, 8 + 4),
}  # fmt: skip


def randomised(network: nn.Module) -> nn.Module:
    """In double precision, evaluation mode, with weights and statistics that are nowhere zero."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        if isinstance(module, nn.BatchNorm2d | nn.LayerNorm | Scale) and getattr(module, "weight", None) is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
    return network.double().eval()


@dataclass
class Grown:
    """A network with its units, some of them chosen to go."""

    network: nn.Module
    images: Tensor
    units: Units
    kept: np.ndarray

    @classmethod
    def of(cls, case: Case) -> "Grown":
        network = randomised(case.make())
        images = torch.randn(3, *case.shape, dtype=torch.double)
        units = find_units(network, images)
        return cls(network, images, units, _some(network, units))

    @property
    def cost(self) -> costs.Cost:
        return costs.macs(self.network, self.units)

    def without(self, rows: bool) -> nn.Module:
        """A copy in which the weights that make the units that go, or those that read them, are zero."""
        network = copy.deepcopy(self.network)
        for name, parameter in network.named_parameters():
            for dim, unit in self.units.where.get(name, {}).items():
                if ((name, dim) not in self.units.reads) == rows:
                    goes = (unit >= 0) & ~self.kept[unit]
                    parameter.data.index_fill_(dim, torch.from_numpy(np.flatnonzero(goes)), 0.0)
        return network

    @torch.no_grad()
    def outputs(self, network: nn.Module) -> Tensor:
        return network(self.images)


def _some(network: nn.Module, units: Units) -> np.ndarray:
    """About half of each layer's units stay, one at least; those under a layer norm, which sees the others, all."""
    kept = np.random.default_rng(0).random(units.count) < 0.5
    kept[np.unique(units.layer, return_index=True)[1]] = True
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm) and f"{name}.weight" in units.where:
            unit = units.where[f"{name}.weight"][0]
            kept[unit[unit >= 0]] = True
    return kept


@pytest.fixture(scope="module")
def grown() -> Callable[[str], Grown]:
    """Each network, made and traced once."""
    made: dict[str, Grown] = {}

    def grow(name: str) -> Grown:
        if name not in made:
            made[name] = Grown.of(CASES[name])
        return made[name]

    return grow


def assert_equal(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-9 * float(other.abs().max()))


@pytest.mark.parametrize("name", CASES)
def test_every_free_channel_is_found_and_no_other(grown, name):
    assert grown(name).units.count == CASES[name].units


@pytest.mark.parametrize("name", CASES)
def test_dead_channels_go_without_a_trace(grown, name):
    tree = grown(name)
    dead = tree.without(rows=True)
    assert not torch.allclose(tree.outputs(dead), tree.outputs(tree.network))  # what is alive was seen
    smaller = cut(dead, tree.units, tree.kept)
    assert count_macs(smaller.float(), CASES[name].shape) < count_macs(dead.float(), CASES[name].shape)
    assert_equal(tree.outputs(smaller.double()), tree.outputs(dead.double()))


@pytest.mark.parametrize("name", CASES)
def test_a_cut_is_as_if_nothing_read_the_channels(grown, name):
    tree = grown(name)
    unread = tree.outputs(tree.without(rows=False))
    assert not torch.allclose(unread, tree.outputs(tree.network))
    assert_equal(tree.outputs(cut(tree.network, tree.units, tree.kept)), unread)


@pytest.mark.parametrize("name", CASES)
def test_dead_channels_go_first(grown, name):
    """By magnitude, until half of their work is gone; the very last block may be what comes nearest to the target."""
    tree = grown(name)
    tree = Grown(tree.without(rows=True), tree.images, tree.units, tree.kept)
    whole, least = tree.cost(np.ones(tree.units.count, bool)), tree.cost(tree.kept)
    scores = magnitude(tree.network, tree.units)
    assert not scores[~tree.kept].any()
    assert (scores[tree.kept] > 0).all()
    chosen = everywhere(Problem.of(tree.units, scores, tree.cost, (whole + least) / 2))
    assert not chosen.all()
    assert np.sum(~chosen & tree.kept) <= 1


@pytest.mark.parametrize("name", CASES)
def test_the_cost_of_a_cut_is_what_is_counted_afterwards(grown, name):
    tree = grown(name)
    smaller = cut(tree.network, tree.units, tree.kept).float()
    whole = count_macs(copy.deepcopy(tree.network).float(), CASES[name].shape)
    assert tree.cost.with_whole(whole)(tree.kept) == count_macs(smaller, CASES[name].shape)


def test_layers_that_share_weights_share_them_after_the_cut(grown):
    tree = grown("tied weights")
    smaller = cut(tree.network, tree.units, tree.kept)
    assert smaller.two.weight is smaller.one.weight
    assert len(smaller.one.weight) == tree.kept[:8].sum()


def spelled(n: nn.Module, x: Tensor) -> Tensor:
    y = n.first(x)
    b, c, h, w = y.shape
    return n.last(y.view(b, -1, 4, h, w).transpose(1, 2).reshape(b, c, h, w))


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_forward_pass_that_spells_a_width_is_refused_even_if_it_would_run():
    """Cut to eight channels of sixteen, it would shuffle two groups of four where four groups of two are meant."""
    network = Network(spelled, first=conv(3, 16), last=conv(16, 6), head=head(6))
    with pytest.raises(BadInput, match=r"view should be of the shape \[2, 4, (\d), 8, 8\]. Found \[2, \1, 4, 8, 8\]"):
        prune(network, torch.zeros(2, *SMALL), keep_macs=0.5, align=1)
    smaller = prune(network, torch.zeros(2, *SMALL), keep_macs=0.95, align=1, keep=("first",))
    assert (smaller.first.out_channels, smaller.last.out_channels) == (16, 5)


def grouped_network(*, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """A factory of this file."""
    layers = nn.Conv2d(shape[0], 8, 1), nn.Conv2d(8, 12, 3, groups=4), nn.Conv2d(12, classes, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def test_a_grouped_convolution_that_was_cut_to_one_channel_each_and_then_as_a_depthwise_one_is_loaded(
    tmp_path, monkeypatch
):
    """Weights of (9, 1, 3, 3) may be three groups or nine."""
    monkeypatch.setitem(sys.modules, "factories", types.SimpleNamespace(grouped_network=grouped_network))
    network = build("factories:grouped_network", classes=5, shape=SMALL, trusted=["factories"]).eval()
    images = torch.randn(2, *SMALL)
    for groups in (4, 3):
        units = find_units(network, images)
        kept = np.ones(units.count, bool)
        kept[units.where["0.weight"][0][0]] = False
        network = cut(network, units, kept)
        assert network[1].groups == groups
        save(network, tmp_path / "model")
        again = load(tmp_path / "model", trusted=["factories"])
        assert again[1].groups == groups
        assert torch.equal(again(images), network(images))
