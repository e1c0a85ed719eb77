"""Ablation of half a layer, and the activity of removed channels."""

import numpy as np
import pytest
import torch
from properties import assert_input_untouched, example_of
from torch import Tensor, nn

from espalier.data.prepared import Split
from espalier.measures.macs import count_macs
from espalier.models import build
from espalier.pruning import prune
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.groups import KeptOutputs, kept_outputs_of
from espalier.report.understanding.ablation import ablations, measure_ablations, plan_ablations
from espalier.report.understanding.activity import activity, mean_activations
from espalier.training.batches import Resident
from espalier.training.scoring import Inference

SHAPE = (1, 8, 8)
CPU = torch.device("cpu")


def chain() -> nn.Sequential:
    """Two convolutions with norms, one of 8 and one of 6 channels, and a classifier."""
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
    )
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))
    for norm in (network[1], network[4]):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias)
    return network.eval()


def images(count: int = 40) -> Tensor:
    return torch.randint(
        0, 256, (count, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def as_floats(pixels: Tensor) -> Tensor:
    return pixels / 255


def inference(network: nn.Module) -> Inference:
    """Images that the network mostly classifies correctly."""
    with torch.no_grad():
        labels = network(as_floats(images())).argmax(1)
    labels[::5] += 1
    return Inference(Resident(Split(images(), labels % 10), CPU), as_floats, 16)


def groups_of(network: nn.Module):
    return find_dependency_groups(network, torch.zeros(2, *SHAPE))


@torch.no_grad()
def silence(network: nn.Sequential, place: int, channels) -> None:
    """Let channels of a convolution be nothing: their filters, and the scales and shifts behind them."""
    for layer in (network[place], network[place + 1]):
        layer.weight[channels] = 0
        layer.bias[channels] = 0


def lowest(network: nn.Sequential, place: int) -> list[int]:
    """The half of a convolution's channels that has the smallest weights, scales and shifts."""
    own = [*network[place].parameters(), *network[place + 1].parameters()]
    squares = sum(
        (value.detach() ** 2).flatten(1).sum(1) if value.ndim > 1 else value.detach() ** 2
        for value in own
    )
    return squares.argsort()[: len(squares) // 2].tolist()


def test_a_rise_is_that_of_the_network_whose_channels_are_set_to_zero_by_hand():
    network = chain()
    validation = inference(network)
    with assert_input_untouched(network):
        rows = measure_ablations(network, groups_of(network), validation, 99)
    assert rows["layer"].tolist() == ["0", "3"]
    assert rows["units"].tolist() == [8, 6]
    assert rows["removed"].tolist() == [4, 3]
    before = validation.loss_and_score(network)
    for row, place in zip(rows.to_dict("records"), (0, 3), strict=True):
        silent = chain()
        silence(silent, place, lowest(network, place))
        expected = validation.loss_and_score(silent)
        assert (row["loss_without"], row["accuracy_without"]) == pytest.approx(expected, rel=1e-5)
        assert (row["loss"], row["accuracy"]) == pytest.approx(before)
        assert row["loss_without"] != pytest.approx(row["loss"], rel=1e-3)


def test_a_layer_of_which_half_is_dead_loses_nothing():
    network = chain()
    silence(network, 0, [1, 3, 5, 7])
    (row, other) = measure_ablations(network, groups_of(network), inference(network), 99).to_dict(
        "records"
    )
    assert row["loss_without"] == pytest.approx(row["loss"], rel=1e-6)
    assert row["accuracy_without"] == row["accuracy"]
    assert other["loss_without"] != pytest.approx(other["loss"], rel=1e-3)


def test_layers_that_a_sum_couples_are_one_set_in_the_order_of_the_network():
    network = build(
        "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": 4}
    ).eval()
    names = [one.layers for one in ablations(network, groups_of(network))]
    assert names[0] == ("conv", "stages.0.0.conv2")
    assert ("stages.1.0.conv2", "stages.1.0.shortcut.0") in names
    assert [one[0] for one in names] == sorted(one[0] for one in names)
    every = measure_ablations(network, groups_of(network), inference(network), 99)
    some = measure_ablations(network, groups_of(network), inference(network), 3)
    assert len(every) == len(names)
    assert set(every["sets"]) == set(some["sets"]) == {len(names)}
    assert some["layer"].tolist() == [names[0][0], names[len(names) // 2 - 1][0], names[-1][0]]


class Spells(nn.Module):
    """A network whose forward pass knows how wide its first layer is."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x.flatten(1)).view(len(x), 8))


def test_a_network_that_does_not_run_without_half_of_a_layer_has_no_figure_there():
    network = Spells().eval()
    rows = measure_ablations(network, groups_of(network), inference(network), 99)
    assert len(rows) == 1
    assert rows["accuracy_without"].isna().all()
    assert rows["accuracy"].notna().all()


@pytest.mark.parametrize(("sets", "expected"), [(1, 512), (10**7, 32)])
def test_the_work_decides_how_many_images_are_measured(sets, expected):
    planned = plan_ablations({"chain": (count_macs(chain(), example_of(SHAPE)), sets)}, CPU)
    assert planned.images == expected
    assert planned.layers >= 8


def test_between_the_bounds_the_work_is_what_is_allowed():
    macs = count_macs(chain(), example_of(SHAPE))
    sets = int(2e11 / (100 * macs))
    networks = {"one": (macs, sets // 2), "other": (macs, sets - sets // 2)}
    assert plan_ablations(networks, CPU).images in (99, 100)
    hundredfold = {name: (macs, 100 * count) for name, (macs, count) in networks.items()}
    assert plan_ablations(hundredfold, torch.device("cuda")).images in (99, 100)
    heavy = int(3e12 / (32 * macs))  # sets whose 32 images alone would cost 3e12
    assert plan_ablations({"one": (macs, heavy)}, CPU) == plan_ablations(
        {"one": (macs, heavy + 1)}, CPU
    )
    assert plan_ablations({"one": (macs, heavy)}, CPU).layers * 32 * macs <= 2e12


def test_the_activity_of_removed_outputs_is_that_of_forward_hooks():
    network = chain()
    units = groups_of(network)
    kept_outputs = kept_outputs_of(prune(network, torch.zeros(2, *SHAPE), keep_macs=0.4, align=1))
    with assert_input_untouched(network):
        found = activity(
            units, mean_activations(network, units, as_floats(images()).split(20)), kept_outputs
        ).set_index("layer")
    assert set(found.index) == set(kept_outputs.kept) == {"0", "3"}
    with torch.no_grad():
        heard = {
            "0": network[:3](as_floats(images())),
            "3": network[:7](as_floats(images())),
        }  # as the next layer reads them
    for layer, output in heard.items():
        size = output.abs().mean((0, 2, 3)).numpy()
        stays = np.isin(np.arange(len(size)), kept_outputs.kept[layer])
        assert found.loc[layer, "kept"] == pytest.approx(size[stays].mean(), rel=1e-5)
        assert found.loc[layer, "cut"] == pytest.approx(size[~stays].mean(), rel=1e-5)


def test_dead_channels_that_were_cut_were_not_active():
    network = chain()
    silence(network, 0, [1, 3, 5, 7])
    units = groups_of(network)
    size = mean_activations(network, units, [as_floats(images())])
    found = activity(units, size, KeptOutputs({"0": 8}, {"0": (0, 2, 4, 6)}))
    assert found["cut"].tolist() == [0]
    assert found["kept"][0] > 0


def test_a_record_of_another_network_says_nothing():
    network = chain()
    units = groups_of(network)
    size = mean_activations(network, units, [as_floats(images())])
    assert activity(units, size, KeptOutputs({"0": 16, "gone": 8}, {"0": (0,), "gone": (1,)})).empty
