"""Sparse training: penalties by hand, what they pull on, and that a cut after it hurts less."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from espalier.data.prepared import read_dataset, read_split
from espalier.models import build
from espalier.pruning import prune
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.sparse import PENALTIES, sparse
from espalier.training.batches import Batch
from espalier.training.loss_inputs import LossInputs

SHAPE = (1, 8, 8)
EXAMPLE = torch.zeros(2, *SHAPE)


def nothing(seen: LossInputs) -> torch.Tensor:
    return seen.outputs.sum() * 0


def hard(seen: LossInputs) -> torch.Tensor:
    return F.cross_entropy(seen.outputs, seen.batch.targets)


def seen(progress: float = 0.0) -> LossInputs:
    index = torch.arange(2)
    return LossInputs(torch.zeros(2, 3), EXAMPLE, Batch(index, EXAMPLE.byte(), index), 0, progress)


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 2, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 3),
    ).eval()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_penalties_are_what_their_sources_say(penalty):
    """Over channels: all that makes one, rows, biases, scales and shifts; the classifier makes none."""
    network = small()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_()
    first, norm, second = network[0], network[1], network[3]
    channels = [
        torch.cat(
            [
                first.weight[n].flatten(),
                first.bias[n : n + 1],
                norm.weight[n : n + 1],
                norm.bias[n : n + 1],
            ]
        )
        for n in range(4)
    ]
    channels += [torch.cat([second.weight[n].flatten(), second.bias[n : n + 1]]) for n in range(2)]
    sizes = [channel.abs().sum() for channel in channels]
    going = [
        channels[int(torch.stack(sizes[:4]).argmin())],
        channels[4 + int(torch.stack(sizes[4:]).argmin())],
    ]
    expected = {
        "l1": sum(sizes),
        "l2": sum((channel**2).sum() for channel in channels) / 2,
        "group_lasso": sum(len(channel) ** 0.5 * channel.norm() for channel in channels),
        "growing": 0.25 * sum((channel**2).sum() for channel in going) / 2,
    }
    objective = sparse(nothing, network, EXAMPLE, penalty=penalty, strength=0.1, fraction=0.5)
    if penalty == "growing":  # half of four are two
        smallest = torch.stack(sizes[:4]).argsort()[:2].tolist()
        expected["growing"] = (
            0.25
            * sum((channel**2).sum() for channel in [channels[n] for n in smallest] + going[1:])
            / 2
        )
    assert objective(seen(0.25)).item() == pytest.approx(0.1 * expected[penalty].item(), rel=1e-5)


def test_group_lasso_has_a_gradient_where_a_channel_is_nothing():
    network = small()
    with torch.no_grad():
        for parameter in (network[0].weight, network[0].bias, network[1].weight, network[1].bias):
            parameter[1] = 0
    sparse(nothing, network, EXAMPLE, penalty="group_lasso", strength=1.0)(seen()).backward()
    assert all(
        torch.isfinite(parameter.grad).all()
        for parameter in network.parameters()
        if parameter.grad is not None
    )
    assert network[0].weight.grad[0].abs().sum() > 0
    assert network[0].weight.grad[1].abs().sum() == 0


@pytest.mark.parametrize("pattern", ["channels", "weights"])
def test_fixed_groups_are_not_penalised(pattern):
    network = small()
    network[1].bias.data += 1
    sparse(nothing, network, EXAMPLE, penalty="l1", strength=1.0, pattern=pattern, keep=("3",))(
        seen()
    ).backward()
    pulled = {
        name
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    assert pulled == (
        {"0.weight", "0.bias", "1.weight", "1.bias"} if pattern == "channels" else {"0.weight"}
    )


def test_blocks_are_pulled_as_wholes():
    network = build(
        "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 14, "width": 4}
    ).eval()
    objective = sparse(
        nothing, network, EXAMPLE, penalty="group_lasso", strength=1.0, pattern="blocks"
    )
    assert objective.norms.count == 4  # of six, two change the shape
    inside = sum(
        parameter.numel()
        for name, parameter in network.named_parameters()
        if name.startswith("stages.0.0.")
    )
    assert objective.norms.sizes[0] == inside


def test_heads_are_pulled_and_no_other_channels():
    network = build(
        "user_package:everything", classes=10, shape=(1, 16, 16), trusted=("user_package",)
    ).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    images = torch.zeros(2, 1, 16, 16)
    sparse(nothing, network, images, penalty="l1", strength=1.0, pattern="heads")(seen()).backward()
    pulled = {
        name for name, one in network.named_parameters() if one.grad is not None and one.grad.any()
    }
    assert pulled == {
        "attention.self_attention.in_proj_weight",
        "attention.self_attention.in_proj_bias",
    }


def test_growing_starts_at_nothing_and_pulls_only_on_the_smallest():
    network = small()
    objective = sparse(nothing, network, EXAMPLE, penalty="growing", strength=1.0, fraction=0.25)
    assert objective(seen(0.0)) == 0
    objective(seen(0.5)).backward()
    norms = network[0].weight.grad.flatten(1).norm(dim=1)
    assert (norms > 0).sum() == 1
    assert network[3].weight.grad.abs().sum() == 0  # a quarter of two is none


def test_parameters_of_the_objective_stay_trained_and_the_network_is_not_registered():
    adapter = nn.Linear(3, 3)

    class Hint(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.adapter = adapter

        def forward(self, seen: LossInputs) -> torch.Tensor:
            return self.adapter(seen.outputs).sum()

    objective = sparse(Hint(), small(), EXAMPLE, penalty="l2", strength=1.0)
    assert {id(parameter) for parameter in objective.parameters()} == {
        id(one) for one in adapter.parameters()
    }
    assert set(objective.state_dict()) == {"objective.adapter.weight", "objective.adapter.bias"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_penalty_shrinks_removable_groups_and_the_cut_costs_less(digits):
    """Beside the same training without a penalty, in the mean over seeds: most with growing regularisation."""
    dataset = read_dataset(digits)
    front = dataset.front(torch.device("cpu"))
    images, validation = read_split(digits, "train"), read_split(digits, "validation")

    def train(network, objective, epochs, rate, seed):
        optimizer, source = (
            torch.optim.SGD(network.parameters(), rate, momentum=0.9),
            torch.Generator().manual_seed(seed),
        )
        groups = [
            group
            for _ in range(epochs)
            for group in torch.randperm(1216, generator=source).split(64)
        ]
        network.train()
        for step, index in enumerate(groups):
            batch = Batch(index, images.inputs[index], images.targets[index])
            optimizer.zero_grad()
            view = front(batch.inputs)
            objective(LossInputs(network(view), view, batch, 0, step / len(groups))).backward()
            optimizer.step()
        return network.eval()

    @torch.no_grad()
    def loss(network) -> float:
        return F.cross_entropy(network(front(validation.inputs)), validation.targets).item()

    def low_mass(network) -> float:
        """The part of the norms that the lower third of each layer has."""
        units = find_dependency_groups(network, EXAMPLE)
        norms = np.sqrt(
            units.sum_over_producers(
                {name: one.detach() ** 2 for name, one in network.named_parameters()}
            )
        )
        layers = [np.sort(norms[units.layer == layer]) for layer in np.unique(units.layer)]
        return float(np.mean([layer[: len(layer) // 3].sum() / layer.sum() for layer in layers]))

    figures: dict[str, list[tuple[float, float]]] = {}
    strengths = {"none": 0.0, "l1": 1e-2, "group_lasso": 1e-3, "growing": 1.0}
    for seed in range(2):
        torch.manual_seed(seed)
        whole = build(
            "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": 8}
        )
        train(whole, hard, 4, 0.1, seed)
        for penalty, strength in strengths.items():
            network = copy.deepcopy(whole)
            kinds = {"penalty": penalty, "strength": strength}
            train(
                network,
                sparse(hard, network, EXAMPLE, **kinds) if strength else hard,
                6,
                0.05,
                seed + 10,
            )
            rise = loss(prune(network, EXAMPLE, keep_macs=0.6, align=1)) - loss(network)
            figures.setdefault(penalty, []).append((low_mass(network), rise))
    mass, rise = (
        {penalty: np.mean([one[n] for one in found]) for penalty, found in figures.items()}
        for n in (0, 1)
    )
    assert max(mass["l1"], mass["group_lasso"], mass["growing"]) < mass["none"]
    assert mass["growing"] < 0.5 * mass["none"]
    assert rise["group_lasso"] < rise["none"]
    assert rise["growing"] < 0.2 * rise["none"]
