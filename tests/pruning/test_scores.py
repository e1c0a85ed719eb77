"""Scores against what they stand for: their papers' formulas written out, what they must not depend on, and chance."""

import itertools

import numpy as np
import pytest
import torch
from properties import assert_explains
from torch import nn
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.models import build
from espalier.pruning import prune
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.groups import WeightElements
from espalier.pruning.scores import SCORES, score_named
from espalier.pruning.scores.activation import activation
from espalier.pruning.scores.fisher import fisher
from espalier.pruning.scores.geometric_median import geometric_median
from espalier.pruning.scores.hessian import hessian
from espalier.pruning.scores.l1 import l1
from espalier.pruning.scores.lamp import lamp
from espalier.pruning.scores.magnitude import magnitude
from espalier.pruning.scores.norm_scale import norm_scale
from espalier.pruning.scores.random import random
from espalier.pruning.scores.taylor import taylor
from espalier.pruning.scores.threshold import threshold
from espalier.pruning.surgery import cut

SHAPE = (1, 8, 8)
KINDS = pytest.mark.parametrize(
    "name", [name for name in SCORES if name not in ("random", "geometric_median")]
)


def small_resnet() -> nn.Module:
    """One whose norms are not all alike."""
    network = build(
        "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": 8}
    ).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 2)
                layer.bias.uniform_(-0.5, 0.5)
    return network


def losses(network: nn.Module, size: int = 8):
    source = torch.Generator().manual_seed(3)
    images = torch.randn(16, *SHAPE, generator=source).to(next(network.parameters()).dtype)
    for part in torch.arange(16).split(size):
        yield F.cross_entropy(network(images[part]), part % 10)


class Tanh(nn.Module):
    """Everything behind the activation is linear, and behind a rectifier other sums would do as well."""

    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.first, self.one, self.two = (
            nn.Conv2d(1, 6, 3),
            nn.Linear(6 * 36, 5),
            nn.Conv2d(6, 5, 1),
        )
        self.shared = shared

    def inside(self, x):
        return self.first(x).tanh()

    def behind(self, y):
        return self.one(y.flatten(1)) + (self.two(y).sum((2, 3)) if self.shared else 0)

    def forward(self, x):
        return self.behind(self.inside(x))


def test_magnitude_is_the_norm_of_a_units_weights_over_its_layers_mean():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)
    ).eval()
    values = {
        "0.weight": [3.0, 2.0],
        "0.bias": [4.0, 2.0],
        "1.weight": [0.0, 1.0],
        "1.bias": [12.0, 0.0],
    }
    for name, value in values.items():
        parameter = network.get_parameter(name)
        parameter.data = torch.tensor(value).reshape(parameter.shape)
    found = magnitude(network, find_dependency_groups(network, torch.zeros(2, 1, 2, 2)))
    assert found == pytest.approx(
        [13 / 8, 3 / 8]
    )  # norms 13 and 3, their mean 8; what reads them does not count


@pytest.mark.parametrize("shared", [False, True])
def test_taylor_is_the_change_of_the_loss_where_everything_behind_is_linear(shared):
    """The mean over batches of the squared difference that a unit's removal makes, for one and for two readers."""

    network = Tanh(shared).double().eval()
    batches = torch.randn(3, 4, *SHAPE, dtype=torch.double)
    direction = torch.randn(4, 5, dtype=torch.double)

    def losses(network):
        for batch in batches:
            yield (network(batch) * direction).sum()

    units = find_dependency_groups(network, batches[0])
    before = torch.stack(list(losses(network)))
    changes = []
    for unit in range(units.count):
        kept = np.arange(units.count) != unit
        changes.append(
            ((torch.stack(list(losses(cut(network, units, kept)))) - before) ** 2).mean().item()
        )
    assert len(changes) == 6
    assert taylor(network, units, losses) == pytest.approx(changes, rel=1e-9)


def test_taylor_sees_what_is_not_read_where_magnitude_sees_only_its_size():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
    with torch.no_grad():
        network[1].weight[[2, 5]] *= 10  # large ...
        network[3].weight[:, [2, 5]] = 0  # ... and not read by any layer
    images = torch.randn(32, *SHAPE)

    def losses(network):
        yield F.cross_entropy(network(images), torch.arange(32) % 10)

    whole = network(images)
    by_taylor = prune(network, images, keep_macs=0.75, align=1, score="taylor", losses=losses)
    assert torch.allclose(by_taylor(images), whole, atol=1e-6)
    by_magnitude = prune(network, images, keep_macs=0.75, align=1)
    assert not torch.allclose(by_magnitude(images), whole, atol=1e-2)


# ---- formulas


def test_l1_is_the_sum_of_a_units_weights_over_its_layers_mean():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 3)
    ).eval()
    values = {
        "0.weight": [3.0, -2.0],
        "0.bias": [-4.0, 2.0],
        "1.weight": [0.0, 1.0],
        "1.bias": [12.0, 0.0],
    }
    for name, value in values.items():
        parameter = network.get_parameter(name)
        parameter.data = torch.tensor(value).reshape(parameter.shape)
    assert l1(network, find_dependency_groups(network, torch.zeros(2, 1, 2, 2))) == pytest.approx(
        [19 / 12, 5 / 12]
    )


@pytest.mark.parametrize("shared", [False, True])
def test_fisher_is_half_the_mean_square_over_examples_of_the_derivative_along_the_activation(
    shared,
):
    """Theis et al. 2018: g_nk is the sum over places of a * dL_n/da, and a unit is worth the sum of g_nk^2 / 2N."""
    network = Tanh(shared).double().eval()
    images, answers = torch.randn(12, *SHAPE, dtype=torch.double), torch.arange(12) % 5
    inside = network.inside(images).detach().requires_grad_(True)
    loss = F.cross_entropy(network.behind(inside), answers, reduction="sum")
    along = (inside * torch.autograd.grad(loss, inside)[0]).sum((2, 3))
    expected = (along**2).sum(0) / (2 * len(images))

    def of_each_example(network):
        for image, answer in zip(images, answers, strict=True):
            yield F.cross_entropy(network(image[None]), answer[None])

    found = fisher(network, find_dependency_groups(network, images), of_each_example)
    assert found == pytest.approx(expected.detach().numpy(), rel=1e-9)


def test_fisher_sees_what_cancels_in_a_batch_and_taylor_does_not():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    images, signs = torch.ones(4, *SHAPE), torch.tensor([1.0, -1.0, 1.0, -1.0])
    network[1].weight.data.fill_(0.1)
    units = find_dependency_groups(network, images)
    batch = taylor(network, units, lambda network: iter([(network(images)[:, 0] * signs).mean()]))
    each = fisher(
        network,
        units,
        lambda network: (network(images[n : n + 1]).sum() * signs[n] for n in range(4)),
    )
    assert batch == pytest.approx(0, abs=1e-12)
    assert (each > 1e-3).all()


def test_hessian_is_half_the_diagonal_times_the_squared_weights():
    """Exactly where the loss has no mixed derivatives, whatever the signs that are drawn."""
    network = Tanh().double().eval()
    curvature = torch.rand(network.one.weight.shape, dtype=torch.double)

    def quadratic(network):
        for factor in (1, 3):
            yield factor * (curvature * network.one.weight**2).sum() / 2

    expected = 2 * (curvature * network.one.weight.detach() ** 2).reshape(5, 6, 36).sum((0, 2)) / 2
    found = hessian(
        network,
        find_dependency_groups(network, torch.zeros(2, *SHAPE, dtype=torch.double)),
        quadratic,
    )
    assert found == pytest.approx(expected.numpy(), rel=1e-9)


def test_hessian_estimates_the_diagonal_of_a_network():
    """The mean over many draws comes to what differentiating twice gives."""
    network = (
        nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).double().eval()
    )
    images, answers = torch.randn(8, 1, 2, 2, dtype=torch.double), torch.arange(8) % 2
    weight = network[3].weight

    def loss_of(weight):
        inside = network[2](network[1](images.flatten(1)))
        return F.cross_entropy(F.linear(inside, weight, network[3].bias), answers)

    exact = (
        torch.autograd.functional.hessian(loss_of, weight).reshape(6, 6).diagonal().reshape(2, 3)
    )
    expected = (exact * weight.detach() ** 2).sum(0) / 2

    def many(network):
        for _ in range(1500):
            yield F.cross_entropy(network(images), answers)

    found = hessian(network, find_dependency_groups(network, images), many)
    assert found == pytest.approx(expected.detach().numpy(), rel=0.1)


def test_the_geometric_median_is_where_the_distances_to_all_filters_are_least():
    network = nn.Sequential(
        nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 36, 3)
    ).eval()
    filters = network[0].weight.detach().flatten(1).double()
    by_hand = torch.tensor([sum((one - other).norm() for other in filters) for one in filters])
    units = find_dependency_groups(network, torch.zeros(2, *SHAPE))
    assert geometric_median(network, units) == pytest.approx((by_hand / by_hand.mean()).numpy())
    before = geometric_median(network, units)
    network[0].weight.data += 7  # however large the filters are
    assert geometric_median(network, units) == pytest.approx(before, rel=1e-4)
    network[0].weight.data[2] = network[0].weight.data[[0, 1, 3, 4]].mean(0)
    assert geometric_median(network, units).argmin() == 2
    assert magnitude(network, units).argmin() != 2 or len(filters) == 1


def test_the_norm_scale_is_that_of_the_norms_a_unit_passes():
    network = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU()
    ).eval()
    network.extend([nn.Flatten(), nn.Linear(2 * 16, 4)])
    network[1].weight.data = torch.tensor([0.5, -2.0, 0.0])
    found = norm_scale(network, find_dependency_groups(network, torch.zeros(2, *SHAPE)))
    assert found.tolist() == [
        0.5,
        2.0,
        0.0,
        np.inf,
        np.inf,
    ]  # of what passes none, nothing is known
    bare = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 2)).eval()
    with pytest.raises(BadInput) as refusal:
        norm_scale(bare, find_dependency_groups(bare, torch.zeros(2, *SHAPE)))
    assert_explains(refusal.value, "norm_scale", "norms")


def test_lamp_is_a_square_over_the_squares_that_are_no_smaller():
    network = (
        nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3)).double().eval()
    )
    singles = WeightElements({"1.weight": (4, 64), "3.weight": (3, 4)})
    expected = []
    for weight in (network[1].weight, network[3].weight):
        squares = weight.detach().double().flatten() ** 2
        expected += [float(one / squares[squares >= one].sum()) for one in squares]
    found = lamp(network, singles)
    assert found == pytest.approx(expected, rel=1e-9)
    assert [found[singles.layer == layer].max() for layer in (0, 1)] == pytest.approx([1, 1])
    network[3].weight.data *= 100  # layers are made comparable
    assert lamp(network, singles) == pytest.approx(expected, rel=1e-9)


def test_activation_is_the_mean_size_of_what_is_read():
    network = small_resnet()
    block, seen = network.stages[1][0], []
    handle = block.conv2.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].detach().abs().mean((0, 2, 3)))
    )
    units = find_dependency_groups(network, torch.zeros(2, *SHAPE))
    seen.clear()
    found = activation(network, units, losses)
    handle.remove()
    inner = units.where["stages.1.0.conv1.weight"][0]
    assert len(seen) == 2  # batches
    assert found[inner] == pytest.approx(torch.stack(seen).mean(0).numpy(), rel=1e-6)


def test_activation_counts_signs_as_size():
    network, seen = Tanh().double().eval(), torch.randn(8, *SHAPE, dtype=torch.double)
    found = activation(
        network, find_dependency_groups(network, seen), lambda network: iter([network(seen).sum()])
    )
    assert found == pytest.approx(
        network.inside(seen).detach().abs().mean((0, 2, 3)).numpy(), rel=1e-9
    )


def test_a_threshold_looks_at_the_root_mean_square_and_of_single_weights_at_their_size():
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2)
    ).eval()
    network[1].weight.data = torch.tensor([[3.0, -4.0], [0.0, 0.1]])
    units = find_dependency_groups(network, torch.zeros(2, 1, 1, 2))
    assert threshold(network, units) == pytest.approx([np.sqrt(12.5), np.sqrt(0.005)])
    assert threshold(network, WeightElements({"1.weight": (2, 2)})) == pytest.approx([3, 4, 0, 0.1])


def test_random_scores_depend_on_the_network_alone():
    one, other = small_resnet(), small_resnet()
    units = find_dependency_groups(one, torch.zeros(2, *SHAPE))
    before = torch.get_rng_state()
    first, second = random(one, units), random(other, units)
    assert torch.equal(torch.get_rng_state(), before)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, random(one, units))
    assert 0 <= first.min() < 0.2
    assert 0.8 < first.max() < 1
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.4


# ---- what they must and must not depend on


@KINDS
def test_dead_groups_score_zero(name):
    """Rows, scale and shift zero, in a layer by itself and in one that a residual stream joins to others."""
    network = small_resnet()
    units = find_dependency_groups(network, torch.zeros(2, *SHAPE))
    inner, stream = (
        units.where["stages.1.0.conv1.weight"][0][3],
        units.where["stages.1.0.conv2.weight"][0][5],
    )
    with torch.no_grad():
        for parameter, value in network.named_parameters():
            rows = units.where[parameter].get(0, np.empty(0))
            value[np.isin(rows, [inner, stream])] = 0
    found = SCORES[name].function(network, units, losses)
    assert found[[inner, stream]] == pytest.approx([0, 0], abs=1e-20)
    assert found.min() >= 0  # a rectifier lets others be dead as well
    assert np.count_nonzero(found) > 0.9 * units.count


@pytest.mark.parametrize("name", [name for name in SCORES if name not in ("random", "hessian")])
def test_units_that_change_places_take_their_scores_along(name):
    network = small_resnet().double()
    units = find_dependency_groups(network, torch.zeros(2, *SHAPE, dtype=torch.double))
    inner = units.where["stages.1.0.conv1.weight"][0]
    before = SCORES[name].function(network, units, losses)
    order, block = torch.randperm(len(inner)), network.stages[1][0]
    with torch.no_grad():
        for parameter in (block.conv1.weight, block.bn1.weight, block.bn1.bias):
            parameter.copy_(parameter[order])
        for buffer in (block.bn1.running_mean, block.bn1.running_var):
            buffer.copy_(buffer[order])
        block.conv2.weight.copy_(block.conv2.weight[:, order])
    after = SCORES[name].function(network, units, losses)
    assert after[inner] == pytest.approx(before[inner][order.numpy()], rel=1e-6)
    others = np.setdiff1d(np.arange(units.count), inner)
    assert after[others] == pytest.approx(before[others], rel=1e-6)


@pytest.mark.parametrize("name", ["magnitude", "l1", "geometric_median", "lamp"])
def test_the_size_of_a_whole_layer_does_not_matter_to_norms(name):
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)
    )
    units = find_dependency_groups(network.eval(), torch.zeros(2, *SHAPE))
    before = SCORES[name].function(network, units, None)
    with torch.no_grad():
        network[1].weight *= 10
        network[1].bias *= 10
    assert SCORES[name].function(network, units, None) == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize("name", ["taylor", "fisher"])
def test_scores_by_derivatives_are_invariant_to_rescaling(name):
    """A rectified neuron times ten, and what reads it by ten: norms see another network, these do not."""
    network = (
        nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10)).double().eval()
    )
    units = find_dependency_groups(network, torch.zeros(2, *SHAPE, dtype=torch.double))
    before, norms = SCORES[name].function(network, units, losses), magnitude(network, units)
    with torch.no_grad():
        network[1].weight[2] *= 10
        network[1].bias[2] *= 10
        network[3].weight[:, 2] /= 10
    assert SCORES[name].function(network, units, losses) == pytest.approx(before, rel=1e-9)
    assert magnitude(network, units) != pytest.approx(norms, rel=0.1)


@pytest.mark.parametrize("name", SCORES)
def test_single_weights_are_scored_each_by_itself(name):
    """As many numbers as weights, and of the first order they are what the gradient says."""
    network = (
        nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.Tanh(), nn.Linear(6, 10)).double().eval()
    )
    singles = WeightElements({"1.weight": (6, 64)})
    if "weights" not in SCORES[name].patterns:
        return
    found = SCORES[name].function(network, singles, losses)
    assert found.shape == (384,)
    weight = network[1].weight
    products = [torch.autograd.grad(loss, weight)[0] * weight for loss in losses(network)]
    first_order = torch.stack(products).square().mean(0).detach().flatten().numpy()
    sizes = weight.detach().abs().flatten().numpy()
    expected = {
        "taylor": first_order,
        "fisher": first_order / 2,
        "magnitude": sizes / sizes.mean(),
        "threshold": sizes,
    }
    if name in expected:
        assert found == pytest.approx(expected[name], rel=1e-9)


@pytest.mark.parametrize(
    ("name", "pattern"), [("norm_scale", "weights"), ("lamp", "blocks"), ("activation", "n_of_m")]
)
def test_a_senseless_pair_is_refused_with_the_reason(name, pattern):
    with pytest.raises(BadInput) as refusal:
        score_named(name, pattern)
    assert_explains(refusal.value, name, pattern, SCORES[name].reason)


def test_an_unknown_score_is_refused_with_the_known_ones():
    with pytest.raises(BadInput) as refusal:
        score_named("size", "channels")
    assert_explains(refusal.value, *SCORES, "'size'")


@pytest.mark.parametrize("name", [name for name, score in SCORES.items() if score.data])
def test_scores_that_need_data_are_refused_without(name):
    network = small_resnet()
    units = find_dependency_groups(network, torch.zeros(2, *SHAPE))
    with pytest.raises(BadInput) as refusal:
        SCORES[name].function(network, units, None)
    assert_explains(refusal.value, f"`score: {name}`", "losses")
    with pytest.raises(BadInput) as refusal:
        SCORES[name].function(network, units, lambda network: iter(()))
    assert_explains(refusal.value, f"`score: {name}`", "batch")


# ---- on a trained network


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_taylor_and_fisher_lose_less_than_random_scores(trained):
    """On the validation loss right after the cut to the same work, in the mean over networks and depths of cut."""
    networks, (images, labels), (unseen, answers) = trained

    def mean_loss(score: str) -> float:
        size = 1 if SCORES[score].data == "examples" else 64

        def parts(network):
            for part in torch.arange(256).split(size):
                yield F.cross_entropy(network(images[part]), labels[part])

        found = []
        for network, keep in itertools.product(networks, (0.7, 0.6)):
            smaller = prune(
                network,
                images[:2],
                keep_macs=keep,
                align=1,
                score=score,
                losses=parts,
                reconstruct=False,
            )
            with torch.no_grad():
                found.append(F.cross_entropy(smaller(unseen), answers).item())
        return float(np.mean(found))

    chances = mean_loss("random")
    assert mean_loss("taylor") < chances
    assert mean_loss("fisher") < chances


def tokens_and_lstm():
    torch.manual_seed(0)
    arguments = {"vocabulary": 30, "width": 6, "hidden": 4}
    return build("espalier:text_lstm", classes=3, shape=(7,), arguments=arguments).eval()


def embedded_columns(network, tokens):
    groups = find_dependency_groups(network, tokens)
    return groups, groups.where["embedding.weight"][1]


@torch.no_grad()
def test_filters_of_an_embedding_are_its_columns():
    """Two equal columns are nearest to all others; distances between rows would tell nothing."""
    network, tokens = tokens_and_lstm(), torch.randint(1, 30, (4, 7))
    network.embedding.weight[:, 1] = network.embedding.weight[:, 4]
    groups, columns = embedded_columns(network, tokens)
    scores = geometric_median(network, groups)[columns]
    assert set(np.argsort(scores)[:2]) == {1, 4}
    assert len(np.unique(scores.round(9))) == 5


def test_activations_are_those_at_the_inputs_of_recurrent_layers():
    network, tokens = tokens_and_lstm(), torch.randint(1, 30, (4, 7))
    groups, columns = embedded_columns(network, tokens)

    def whole(network):
        yield network(tokens).sum()

    expected = network.embedding(tokens).abs().mean((0, 1)).detach().numpy()
    np.testing.assert_allclose(activation(network, groups, whole)[columns], expected, rtol=1e-5)
