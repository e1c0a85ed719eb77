"""Targets of the deployed file for networks that take no images: rows of a table, and tokens."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from selection import mostly_slow
from torch import Tensor, nn

from espalier.errors import Notice
from espalier.export.onnx import Names
from espalier.inputs.text import Tokens
from espalier.measures.comparison import Comparison
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build
from espalier.pruning import PruneSpec, Target, prune, prune_by_spec, prune_to_target
from espalier.pruning.costs import Deployment, file_bytes, latency_table
from espalier.pruning.costs.layer_times import kinds_of
from espalier.pruning.finding import find_dependency_groups

TOKENS = torch.arange(24).reshape(2, 12)


@dataclass(frozen=True)
class Case:
    """A network, and inputs as it sees them."""

    factory: str
    arguments: dict[str, Any]
    example: Tensor

    def __str__(self) -> str:
        return self.factory.partition(":")[2]

    def network(self) -> nn.Module:
        shape = tuple(self.example.shape[1:])
        return build(self.factory, classes=4, shape=shape, arguments=self.arguments).eval()


ROWS = Case("espalier:mlp", {"hidden": [96, 64]}, torch.zeros(2, 20))
CONVOLUTIONS = Case("espalier:text_cnn", {"vocabulary": 30}, TOKENS)
CASES = mostly_slow(
    [
        ROWS,
        CONVOLUTIONS,
        Case("espalier:text_lstm", {"vocabulary": 30}, TOKENS.int()),
        Case("espalier:text_encoder", {"vocabulary": 30, "width": 64}, TOKENS),
    ],
    ROWS,
    CONVOLUTIONS,
)
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@every_case
def test_bytes_are_those_of_a_file_that_takes_what_the_network_sees(case):
    network = case.network()
    deployment = Deployment.usual(case.example)
    most = 0.6 * file_bytes(network, deployment)
    assert 4 * count_parameters(network) < most / 0.6
    smaller = prune(network, case.example, bytes=most, align=1)
    assert 0.98 * most <= file_bytes(smaller, deployment) <= most


@every_case
@pytest.mark.parametrize(
    "target", [{"milliseconds": 1000}, {"keep_macs": 0.8, "budget": "latency"}], ids=str
)
@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_networks_on_any_input_are_timed(case, target, monkeypatch):
    timed: list[Comparison] = []
    compare: Callable[..., Comparison] = prune_to_target.compare_network_latency

    def recorded(*arguments):
        timed.append(compare(*arguments))
        return timed[-1]

    # that the layers take as long as they compute: their own table takes long
    monkeypatch.setattr(
        latency_table,
        "measure",
        lambda points, rounds=0: [float(point.rows * point.columns) for point in points],
    )
    monkeypatch.setattr(prune_to_target, "compare_network_latency", recorded)
    network = case.network()
    smaller = prune(network, case.example, **target, align=1)
    assert timed
    assert all(0 < one.parent < 1000 and 0 < one.child < 1000 for one in timed)
    kept = target.get("keep_macs", 1)
    assert count_macs(smaller, case.example) <= kept * count_macs(network, case.example)


def test_the_front_and_the_names_of_the_data_count_as_bytes():
    network = CONVOLUTIONS.network()
    stored = Deployment(TOKENS.int(), Tokens(), names=Names("text", "logits"))
    most = 0.6 * file_bytes(network, stored)
    spec = PruneSpec(targets=(Target("bytes", most),), align=1)
    smaller = prune_by_spec(network, TOKENS, spec, deployment=stored)
    assert file_bytes(smaller, Deployment.usual(TOKENS)) != file_bytes(smaller, stored)
    assert 0.98 * most <= file_bytes(smaller, stored) <= most


def test_a_cut_that_is_not_needed_is_said_of_texts_too():
    with pytest.warns(Notice, match="Pruning removed nothing: .* of the allowed 9,999,999"):
        prune(CONVOLUTIONS.network(), TOKENS, bytes=9_999_999)


def test_convolutions_along_one_axis_are_in_the_table_of_times():
    network = CONVOLUTIONS.network()
    layers = find_dependency_groups(network, TOKENS).compute_layers
    kinds = dict(kinds_of(network, layers, TOKENS)).values()
    lengths = [kind.kernel for kind in kinds]
    assert sorted(lengths) == [(), (3,), (4,), (5,)]
    assert all(kind.places == (12,) for kind in kinds if kind.kernel)


@pytest.mark.slow
def test_a_text_network_reaches_a_time():
    """Two thirds of the time, within what two measurements of one network may differ by."""
    arguments = {"vocabulary": 1000, "filters": 256}
    network = Case("espalier:text_cnn", arguments, torch.zeros(2, 24, dtype=torch.int64))
    whole, deployment = network.network(), Deployment.usual(network.example)
    before = prune_to_target.compare_network_latency(whole, whole, deployment).parent
    smaller = prune(whole, network.example, milliseconds=before * 2 / 3)
    found = prune_to_target.compare_network_latency(whole, smaller, deployment)
    assert found.child == pytest.approx(found.parent * 2 / 3, rel=0.15)
