"""Times: the table of layers, what is foreseen from it, and targets that are measured."""

import itertools
import json

import numpy as np
import pytest
import torch
from properties import example_of
from torch import nn

from espalier.errors import BadInput, Notice
from espalier.measures.comparison import Comparison
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build
from espalier.pruning import prune, prune_to_target
from espalier.pruning.costs import latency_table
from espalier.pruning.costs.deployment import Deployment, compare_network_latency, file_bytes
from espalier.pruning.costs.latency_table import Grid, Kind, Point, axis, measure, milliseconds
from espalier.pruning.costs.layer_times import compute_layer_times, layer_times
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.surgery import cut

SHAPE = (3, 16, 16)
CONV = Kind((16, 16), (3, 3), (1, 1), (1, 1), (1, 1))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def images(*shape) -> torch.Tensor:
    return torch.randn(2, *(shape or SHAPE), generator=torch.Generator().manual_seed(1))


def resnet(width=16, depth=8):
    arguments = {"depth": depth, "width": width}
    return build("espalier:resnet", classes=10, shape=SHAPE, arguments=arguments).eval()


def pretend(monkeypatch, time):
    """A device on which layers take as long as a function says."""
    calls = []

    def measured(points, rounds=0):
        calls.append(list(points))
        return [time(point) for point in points]

    monkeypatch.setattr(latency_table, "measure", measured)
    return calls


def test_a_grid_is_exact_where_it_was_measured_and_between_its_neighbours_elsewhere():
    random = np.random.default_rng(0)
    rows, columns = np.array([8, 16, 32, 64]), np.array([16, 24, 48])
    times = np.cumsum(np.cumsum(random.random((4, 3)), axis=0), axis=1)  # grows with both
    grid = Grid(rows, columns, times)
    for (i, row), (j, column) in itertools.product(enumerate(rows), enumerate(columns)):
        assert grid.at(np.array([row]), np.array([column])) == pytest.approx([times[i, j]])
    wide = np.arange(1, 80)
    found = grid.at(wide[:, None].repeat(60, 1), np.arange(1, 61)[None].repeat(79, 0))
    assert (np.diff(found, axis=0) >= -1e-12).all()
    assert (np.diff(found, axis=1) >= -1e-12).all()
    assert found.min() == pytest.approx(times.min())  # nothing is guessed beyond what was measured
    assert found.max() == pytest.approx(times.max())


def test_a_grid_of_one_width_is_constant_in_it():
    grid = Grid(np.array([10]), np.array([8, 16]), np.array([[1.0, 3.0]]))
    assert grid.at(np.array([10, 10, 10]), np.array([8, 12, 16])).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("width", "step", "points"),
    [
        (64, 8, [16, 24, 32, 40, 48, 56, 64]),
        (64, 16, [16, 32, 48, 64]),
        (16, 16, [16]),
        (10, 8, [8, 10]),
        (3, 8, [3]),
        (30, 16, [16, 30]),
    ],
)
def test_widths_are_measured_at_the_steps_of_the_cut_down_to_a_quarter(width, step, points):
    assert axis(width, step, fixed=False) == points
    assert axis(width, step, fixed=True) == [width]


def test_wide_layers_are_measured_at_seven_widths():
    points = axis(2048, 8, fixed=False)
    assert len(points) <= 7
    assert points[0] == 512
    assert points[-1] == 2048
    assert all(point % 8 == 0 for point in points)


def test_a_wide_layer_takes_longer_than_a_narrow_one():
    """Sixteen times the work, by ONNX Runtime's own profiler; the exact ratio is the device's."""
    narrow, wide = measure([Point(CONV, 16, 16), Point(CONV, 64, 64)])
    assert 0 < 3 * narrow < wide


@pytest.mark.parametrize(
    "kind",
    [
        Kind((9, 7), (3, 3), (2, 2), (1, 1), (1, 1), 2),
        Kind((9, 7), (5, 5), (1, 1), (2, 2), (1, 1), 0),
        Kind((9, 7), (1, 1), (1, 1), (0, 0), (1, 1)),
        Kind((24,), (5,), (1,), (2,), (1,)),
        Kind((4, 9, 7), (3, 3, 3), (1, 2, 2), (1, 1, 1), (1, 1, 1)),
        Kind((49,)),
        Kind((1,)),
    ],
    ids=["grouped", "depthwise", "pointwise", "series", "volume", "tokens", "classifier"],
)
def test_every_kind_of_layer_can_be_measured(kind):
    columns = 1 if kind.groups == 0 else 8
    times = measure([Point(kind, 8, columns), Point(kind, 16, columns)], rounds=3)
    assert all(0 < time < 1000 for time in times)


def test_measurements_are_kept_in_a_file(monkeypatch, tmp_path):
    calls = pretend(monkeypatch, lambda point: point.rows + point.columns / 100)
    points = [Point(CONV, 8, 16), Point(CONV, 16, 16), Point(Kind((1,)), 8, 16)]
    assert milliseconds(points[:2]) == {points[0]: 8.16, points[1]: 16.16}
    assert milliseconds(points) == {points[0]: 8.16, points[1]: 16.16, points[2]: 8.16}
    assert calls == [points[:2], points[2:]]
    (file,) = (tmp_path / "cache").rglob("*.json")
    assert len(json.loads(file.read_text())) == 3


def test_the_file_is_that_of_the_device_and_the_runtime(monkeypatch):
    former = latency_table.default_cache()
    assert latency_table.default_cache() == former
    monkeypatch.setattr(latency_table, "processor", lambda: "another")
    other = latency_table.default_cache()
    monkeypatch.setattr("onnxruntime.__version__", "0.0")
    assert len({former, other, latency_table.default_cache()}) == 3


def test_the_time_of_a_cut_is_the_sum_over_its_layers(monkeypatch):
    """On a device whose times are the work itself, they are the work of the cut network."""

    def work(point):
        outputs = np.prod(point.kind.places) / np.prod(point.kind.stride)
        return float(point.rows * point.columns * np.prod(point.kind.kernel) * outputs)

    pretend(monkeypatch, work)
    network = resnet()
    units = find_dependency_groups(network, images())
    time = layer_times(network, units, images(), align=4)
    kept = np.ones(units.count, bool)
    assert (
        time(kept)
        == count_macs(network, example_of(SHAPE))
        == sum(compute_layer_times(network, units.compute_layers, images()).values())
    )
    for layer in np.unique(units.layer):
        members = np.flatnonzero(units.layer == layer)
        kept[members[: len(members) // 2]] = False
    assert time(kept) == count_macs(cut(network, units, kept), example_of(SHAPE))


def test_a_budget_of_latency_cuts_where_time_goes(monkeypatch):
    """On a device on which only the last stage takes time, only that is cut, and no narrower than saves time."""
    pretend(
        monkeypatch,
        lambda point: -(-point.rows // 16) * (1.0 if point.kind.places == (4, 4) else 1e-9),
    )
    monkeypatch.setattr(
        prune_to_target, "compare_network_latency", lambda one, other, example: Comparison(1.0, 0.9)
    )
    network = resnet(16)
    smaller = prune(network, images(), keep_macs=0.8, budget="latency")
    before, after = network.state_dict(), smaller.state_dict()
    narrower = {
        name
        for name in before
        if len(before[name].shape) == 4 and before[name].shape[0] > after[name].shape[0]
    }
    assert (
        narrower
        == {"stages.2.0.conv1.weight", "stages.2.0.conv2.weight", "stages.2.0.shortcut.0.weight"}
        & narrower
    )
    assert narrower
    assert all(after[name].shape[0] % 16 == 0 for name in narrower)


def test_a_slower_cut_is_reported(monkeypatch):
    monkeypatch.setattr(
        prune_to_target, "compare_network_latency", lambda one, other, example: Comparison(1.0, 1.2)
    )
    pretend(monkeypatch, lambda point: point.rows * point.columns)
    with pytest.warns(
        Notice,
        match="not slower after pruning; found 1.200 milliseconds at batch 1, and 1.000",
    ):
        prune(resnet(), images(), keep_macs=0.7, budget="latency", align=1)


def test_wrong_predictions_are_corrected(monkeypatch):
    """A file that is larger than its weights say: by a tenth, and more the smaller it is."""

    def measured(network, example=None, deployment=None):
        return 4.4 * count_parameters(network) + 10_000

    monkeypatch.setitem(prune_to_target.MEASURES, "bytes", measured)
    network = resnet()
    limit = 0.6 * measured(network)
    smaller = prune(network, images(), bytes=limit, align=1)
    assert 0.98 * limit <= measured(smaller) <= limit


@pytest.mark.parametrize("pattern", ["channels", "blocks"])
def test_milliseconds_are_measured_on_the_whole_network(monkeypatch, pattern):
    """A device that needs a millisecond for 100,000 multiplications, and a fifth more than its layers say."""

    def taken(network):
        return 1.2 * count_macs(network, example_of(SHAPE)) / 1e5

    def races(one, other, example):
        return Comparison(taken(one), taken(other))

    monkeypatch.setattr(prune_to_target, "compare_network_latency", races)
    pretend(
        monkeypatch,
        lambda point: point.rows * point.columns * int(np.prod(point.kind.places)) * 9 / 1e5,
    )
    network = resnet(depth=20)
    smaller = prune(network, images(), milliseconds=0.6 * taken(network), align=1, pattern=pattern)
    assert (
        (0.98 if pattern == "channels" else 0.85) <= taken(smaller) / (0.6 * taken(network)) <= 1.02
    )


def test_milliseconds_out_of_reach_are_refused(monkeypatch):
    monkeypatch.setattr(
        prune_to_target, "compare_network_latency", lambda one, other, example: Comparison(5.0, 5.0)
    )
    pretend(monkeypatch, lambda point: 0.001)
    with pytest.raises(
        BadInput,
        match=r"Expected at most 0.100 milliseconds after pruning; found 5.000, where every layer is",
    ):
        prune(resnet(), images(), milliseconds=0.1)


def test_a_race_and_a_file_leave_the_network_as_it_was():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 5)).double().train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    example = torch.zeros(2, 3, 2, 2, dtype=torch.double)
    deployment = Deployment.usual(example)
    assert (
        4 * count_parameters(network)
        < file_bytes(network, deployment)
        < 4 * count_parameters(network) + 2000
    )
    found = compare_network_latency(network, network, deployment)
    assert 0 < found.child < 100
    assert network.training
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0.7, 0.5])
def test_predicted_latencies_equal_measured_latencies(keep):
    """The time of ResNet-56 cut by latency, foreseen from its layers, within 15 % of the cut network's own."""
    shape = (3, 32, 32)
    network = build("espalier:resnet", classes=10, shape=shape, arguments={"depth": 56}).eval()
    example = images(*shape)
    units = find_dependency_groups(network, example)
    smaller = prune(network, example, keep_macs=keep, budget="latency", align=16)
    kept = np.ones(units.count, bool)
    for layer in np.unique(
        units.layer
    ):  # which of a layer's units stay does not matter for its time
        members = np.flatnonzero(units.layer == layer)
        names = [
            (name, dim)
            for name, dims in units.where.items()
            for dim, unit in dims.items()
            if unit[0] == members[0]
        ]
        left = smaller.state_dict()[names[0][0]].shape[names[0][1]]
        kept[members[left:]] = False
    found = compare_network_latency(network, smaller, Deployment.usual(example))
    time = layer_times(network, units, example, align=16).with_whole(found.parent)
    assert time(kept) == pytest.approx(found.child, rel=0.15)
    assert found.speed > 1.2
