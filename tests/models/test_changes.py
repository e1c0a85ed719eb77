"""What was done to a network is remembered with it: in copies, in its folder, and when layers go."""

import copy
import json
from dataclasses import asdict

import pytest
import torch
from properties import assert_equal_outputs, assert_explains
from torch import nn

from espalier.errors import BadInput
from espalier.models import architecture_of, build, load, save
from espalier.models.changes import Changes, changes_of, note, remove

IMAGES = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build(
        "espalier:resnet", classes=10, shape=(1, 16, 16), arguments={"depth": 14, "width": 4}
    )
    network(IMAGES)
    return network.eval()


def test_of_a_new_network_nothing_is_remembered(network):
    assert changes_of(network) == Changes()
    assert architecture_of(network).changes == Changes()


def test_names_are_added_to_those_before_once_and_in_their_order(network):
    note(network, zeros=["conv.weight", "head.weight"])
    note(network, zeros=["head.weight", "stages.0.0.conv1.weight"], shared=["head.weight"])
    zeros = ("conv.weight", "head.weight", "stages.0.0.conv1.weight")
    assert changes_of(network) == Changes(zeros=zeros, shared=("head.weight",))


def test_a_copy_remembers_and_is_changed_by_itself(network):
    note(network, zeros=["head.weight"])
    other = copy.deepcopy(network)
    remove(other, ["stages.0.1"])
    assert changes_of(network) == Changes(zeros=("head.weight",))
    assert changes_of(other) == Changes(removed=("stages.0.1",), zeros=("head.weight",))


def test_what_is_removed_passes_its_input_on(network):
    block = network.stages[0][1]
    nn.init.zeros_(block.bn2.weight)
    nn.init.zeros_(
        block.bn2.bias
    )  # so that the block already passes on its input, which no rectifier changes
    shorter = copy.deepcopy(network)
    remove(shorter, ["stages.0.1"])
    assert_equal_outputs(shorter, network, IMAGES)
    assert not any(name.startswith("stages.0.1.") for name in shorter.state_dict())


def test_of_layers_inside_what_is_removed_nothing_is_remembered(network):
    note(
        network,
        zeros=["stages.0.1.conv1.weight", "stages.0.10.weight", "head.weight"],
        shared=["stages.0.1.conv2.weight"],
    )
    remove(network, ["stages.0.1.bn1"])
    remove(network, ["stages.0.1"])
    kept = ("stages.0.10.weight", "head.weight")  # of another layer whose name begins alike
    assert changes_of(network) == Changes(removed=("stages.0.1",), zeros=kept)


@pytest.mark.parametrize("name", ["", "nowhere", "stages.0.1.conv9"])
def test_only_layers_of_the_network_can_be_removed(network, name):
    with pytest.raises(BadInput) as caught:
        remove(network, [name])
    assert_explains(caught.value, repr(name))
    assert changes_of(network) == Changes()


def test_what_is_remembered_is_in_the_folder_and_comes_back_with_the_network(network, tmp_path):
    remove(network, ["stages.0.1", "stages.1.1.bn1"])
    note(network, zeros=["head.weight"], shared=["conv.weight"])
    network.stages[1][1].conv1.bias = nn.Parameter(torch.randn(8))
    save(network, tmp_path)
    written = json.loads((tmp_path / "architecture.json").read_text())["changes"]
    assert Changes.from_json(written) == changes_of(network)
    assert changes_of(load(tmp_path)) == changes_of(network)
    assert_equal_outputs(load(tmp_path), network, IMAGES)
    save(load(tmp_path), tmp_path / "again")
    assert (tmp_path / "again" / "weights.safetensors").read_bytes() == (
        tmp_path / "weights.safetensors"
    ).read_bytes()


def test_a_folder_written_before_there_were_changes_is_read(network):
    content = architecture_of(network).as_json()
    del content["changes"]
    assert type(architecture_of(network)).from_json(content).changes == Changes()


def test_a_kind_of_change_that_is_unknown_is_refused(network):
    content = architecture_of(network).as_json()
    content["changes"] = {**asdict(Changes()), "painted": ["head"]}
    with pytest.raises(BadInput) as caught:
        type(architecture_of(network)).from_json(content)
    assert_explains(caught.value, "painted")
