"""The edits of a network are in its copies and in its folder, and are applied when it is loaded."""

import copy
import json

import pytest
import torch
from properties import assert_equal_outputs, assert_explains, assert_random_numbers_untouched
from torch import nn

from espalier import files
from espalier.errors import BadInput
from espalier.models import Architecture, architecture_of, build, load, save
from espalier.models.structure import (
    LayerSpec,
    Masked,
    Narrowed,
    Removed,
    Replaced,
    Respelled,
    Shared,
    Spelling,
    edit_from_json,
    edit_to_json,
    edits_of,
    masked_weights,
    record,
    remove,
    removed_layers,
    replace_layer,
    shared_weights,
)

IMAGES = torch.randn(4, 1, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = build(
        "espalier:resnet", classes=10, shape=(1, 16, 16), arguments={"depth": 14, "width": 4}
    )
    network(IMAGES)
    return network.eval()


def test_a_new_network_has_no_edits_but_its_shapes(network):
    assert edits_of(network) == ()
    assert architecture_of(network).edits == (Narrowed.of(network),)


def test_names_are_added_to_those_before_once_and_in_their_order(network):
    record(network, Masked(("conv.weight", "head.weight")))
    record(network, Masked(("head.weight", "stages.0.0.conv1.weight")))
    record(network, Shared(("head.weight",)))
    assert masked_weights(network) == ("conv.weight", "head.weight", "stages.0.0.conv1.weight")
    assert shared_weights(network) == ("head.weight",)


def test_a_copy_has_the_edits_and_is_changed_by_itself(network):
    record(network, Masked(("head.weight",)))
    other = copy.deepcopy(network)
    remove(other, ["stages.0.1"])
    assert edits_of(network) == (Masked(("head.weight",)),)
    assert edits_of(other) == (Removed(("stages.0.1",)), Masked(("head.weight",)))


def test_a_removed_layer_passes_its_input_on(network):
    block = network.stages[0][1]
    nn.init.zeros_(block.bn2.weight)
    nn.init.zeros_(
        block.bn2.bias
    )  # so that the block already passes on its input, which no rectifier changes
    shorter = copy.deepcopy(network)
    remove(shorter, ["stages.0.1"])
    assert_equal_outputs(shorter, network, IMAGES)
    assert not any(name.startswith("stages.0.1.") for name in shorter.state_dict())


def test_edits_of_layers_inside_a_removed_layer_are_dropped(network):
    record(network, Masked(("stages.0.1.conv1.weight", "stages.0.10.weight", "head.weight")))
    record(network, Shared(("stages.0.1.conv2.weight",)))
    replace_layer(network, "stages.0.1.conv1", nn.Conv2d(4, 4, 3, padding=1, bias=False))
    remove(network, ["stages.0.1.bn1"])
    remove(network, ["stages.0.1"])
    kept = ("stages.0.10.weight", "head.weight")  # of another layer whose name begins alike
    assert edits_of(network) == (Removed(("stages.0.1",)), Masked(kept))


@pytest.mark.parametrize("name", ["", "nowhere", "stages.0.1.conv9"])
def test_only_layers_of_the_network_can_be_removed(network, name):
    with pytest.raises(BadInput) as caught:
        remove(network, [name])
    assert_explains(caught.value, repr(name))
    assert edits_of(network) == ()


def test_the_edits_are_in_the_folder_and_come_back_with_the_network(network, tmp_path):
    remove(network, ["stages.0.1", "stages.1.1.bn1"])
    record(network, Masked(("head.weight",)))
    record(network, Shared(("conv.weight",)))
    network.stages[1][1].conv1.bias = nn.Parameter(torch.randn(8))
    save(network, tmp_path)
    written = json.loads((tmp_path / "architecture.json").read_text())["edits"]
    assert tuple(edit_from_json(edit) for edit in written) == architecture_of(network).edits
    assert edits_of(load(tmp_path)) == edits_of(network)
    assert_equal_outputs(load(tmp_path), network, IMAGES)
    save(load(tmp_path), tmp_path / "again")
    assert (tmp_path / "again" / "weights.safetensors").read_bytes() == (
        tmp_path / "weights.safetensors"
    ).read_bytes()


@pytest.mark.parametrize(
    "edit",
    [
        Removed(("a", "b.c")),
        Replaced("a", LayerSpec("Sequential", {}, (LayerSpec("ReLU", {"inplace": False}),))),
        Respelled((Spelling("a", "view", 2, 1, 256, 128, ((1, 8),)),)),
        Narrowed({"a.weight": [3, 2]}, {"a": 1}, {"b": 4}),
        Masked(("a.weight",)),
        Shared(("a.weight",)),
    ],
    ids=lambda edit: edit.kind,
)
def test_an_edit_survives_json(edit):
    assert edit_from_json(json.loads(json.dumps(edit_to_json(edit)))) == edit


def test_a_kind_of_edit_that_is_unknown_is_refused(network):
    content = architecture_of(network).as_json()
    content["edits"].append({"edit": "painted", "layers": ["head"]})
    with pytest.raises(BadInput) as caught:
        Architecture.from_json(content)
    assert_explains(caught.value, "painted")


@pytest.mark.parametrize("key", ["layers", "edit", "colour"])
def test_an_edit_with_a_wrong_key_is_refused(network, key):
    edit = {"edit": "removed", "layers": ["head"]}
    content = architecture_of(network).as_json()
    if key in edit:
        del edit[key]
    else:
        edit[key] = ["red"]
    content["edits"].append(edit)
    with pytest.raises(BadInput) as caught:
        Architecture.from_json(content)
    assert_explains(caught.value, key)


EARLIER = """
{"factory": "espalier:mlp", "classes": 3, "shape": [1, 2, 2], "arguments": {"hidden": [4, 4]},
 "shapes": {"1.weight": [2, 4], "1.bias": [2], "3.weight": [4, 2], "3.bias": [4], "5.weight": [3, 4], "5.bias": [3]},
 "groups": {}, "heads": {},
 "changes": {"removed": ["4"], "zeros": ["1.weight"], "shared": ["3.weight"]}, "quantization": null}
"""


def test_an_architecture_written_before_there_were_edits_is_read(tmp_path):
    architecture = Architecture.from_json(json.loads(EARLIER))
    shapes = json.loads(EARLIER)["shapes"]
    assert architecture.edits == (
        Removed(("4",)),
        Narrowed(shapes),
        Masked(("1.weight",)),
        Shared(("3.weight",)),
    )
    network = build(
        "espalier:mlp", classes=3, shape=(1, 2, 2), arguments={"hidden": [2, 4]}
    )  # the same weights, by another way
    remove(network, ["4"])
    del network._espalier_architecture
    architecture.attach(network)
    save(network, tmp_path)
    assert_equal_outputs(load(tmp_path), network, torch.randn(5, 4))


def test_a_folder_written_before_there_were_edits_is_loaded(tmp_path, network):
    remove(network, ["stages.0.1"])
    record(network, Masked(("head.weight",)))
    save(network, tmp_path)
    content = architecture_of(network).as_json()
    del content["edits"]
    narrowed = Narrowed.of(network)
    content |= {"shapes": narrowed.shapes, "groups": narrowed.groups, "heads": narrowed.heads}
    content["changes"] = {"removed": ["stages.0.1"], "zeros": ["head.weight"], "shared": []}
    files.write_json(tmp_path / "architecture.json", content)
    files.seal(tmp_path)
    again = load(tmp_path)
    assert_equal_outputs(again, network, IMAGES)
    assert edits_of(again) == edits_of(network)


def refused(network, folder):
    with pytest.raises(BadInput) as caught:
        save(network, folder)
    assert not folder.exists()
    return caught.value


def test_a_head_replaced_by_hand_is_refused_before_anything_is_written(network, tmp_path):
    network.head = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10))
    error = refused(network, tmp_path / "model")
    assert_explains(error, "head.0.weight", "`replace_layer`", "espalier.models.structure")


def test_a_head_replaced_with_a_record_is_loaded(network, tmp_path):
    replace_layer(network, "head", nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 10)))
    with assert_random_numbers_untouched():
        save(network, tmp_path)
        again = load(tmp_path)
    assert edits_of(again) == edits_of(network) != ()
    assert_equal_outputs(again, network, IMAGES)


def test_a_replaced_layer_can_be_removed_and_replaced_again(network, tmp_path):
    replace_layer(network, "head", nn.Sequential(nn.Linear(16, 10), nn.Tanh(), nn.Dropout(0.5)))
    remove(network, ["head.1"])
    replace_layer(network, "head.2", nn.LayerNorm(10))
    remove(network, ["stages.0.1"])
    save(network, tmp_path)
    again = load(tmp_path)
    assert_equal_outputs(again, network, IMAGES)
    assert removed_layers(again) == ("head.1", "stages.0.1")


def test_a_narrowing_by_hand_is_loaded(network, tmp_path):
    block = network.stages[0][0]
    block.conv1 = nn.Conv2d(4, 3, 3, padding=1, bias=True)
    block.bn1 = nn.BatchNorm2d(3)
    block.conv2 = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    network.eval()
    save(network, tmp_path)
    assert_equal_outputs(load(tmp_path), network, IMAGES)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stages.0.0.conv1": nn.Conv2d(4, 4, 1, bias=False)}, ["conv1", "`kernel_size = (1, 1)`"]),
        (
            {"stages.0.0.conv1": nn.Conv2d(4, 4, 3, padding=2, dilation=2, bias=False)},
            ["conv1", "`padding = (2, 2)`"],
        ),
        ({"head": nn.Linear(16, 10, bias=False)}, ["no head.bias"]),
        ({"stages.0.1": nn.Identity()}, ["no stages.0.1."]),
        ({"stages.0.0.shortcut": nn.ReLU()}, ["a ReLU", "stages.0.0.shortcut", "Identity"]),
        ({"bn": nn.BatchNorm2d(16, eps=0.1)}, ["bn", "`eps = 0.1` instead of 1e-05"]),
        ({"head": nn.Linear(16, 10).half()}, ["head.weight", "float16 instead of torch.float32"]),
    ],
    ids=["kernel", "dilation", "bias", "removed", "class", "setting", "type"],
)
def test_surgery_that_loading_cannot_follow_is_refused(network, tmp_path, change, words):
    for name, layer in change.items():
        network.set_submodule(name, layer)
    error = refused(network, tmp_path / "model")
    assert_explains(error, *words, "`remove` and `replace_layer`")


def test_a_mask_of_a_weight_that_is_gone_is_refused(network, tmp_path):
    record(network, Masked(("nowhere.weight",)))
    assert_explains(refused(network, tmp_path / "model"), "'nowhere.weight'")


def test_tensors_that_loading_would_tie_are_refused(tmp_path, monkeypatch):
    (tmp_path / "laces.py").write_text(
        "from torch import nn\n"
        "def net(*, classes, shape):\n"
        "    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))\n"
        "    network[1].weight = network[0].weight\n"
        "    return network\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = build("laces:net", classes=4, shape=(1, 2, 2), trusted=["laces"])
    network[1].weight = nn.Parameter(torch.randn(4, 4))
    assert_explains(refused(network, tmp_path / "model"), "0.weight", "1.weight", "one tensor")


def test_a_factory_that_computes_with_values_is_saved_too(tmp_path, monkeypatch):
    (tmp_path / "valued.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "def net(*, classes, shape):\n"
        "    widths = [int(width.item()) for width in torch.linspace(4, 8, 3)]\n"
        "    return nn.Sequential(nn.Linear(widths[0], widths[1]), nn.Linear(widths[1], classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = build("valued:net", classes=4, shape=(1, 2, 2), trusted=["valued"])
    with assert_random_numbers_untouched():
        save(network, tmp_path / "model")
    again = load(tmp_path / "model", trusted=["valued"])
    assert_equal_outputs(again, network, torch.randn(3, 4))


def test_only_layers_that_have_a_description_replace_others(network):
    with pytest.raises(BadInput) as caught:
        replace_layer(network, "head", nn.Sequential(nn.Linear(16, 16), nn.LSTM(16, 10)))
    assert_explains(caught.value, "LSTM", "Linear")
    assert edits_of(network) == ()


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2, ceil_mode=True),
        nn.MaxPool2d(2, dilation=2),
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, 1, divisor_override=5),
        nn.LeakyReLU(0.3),
        nn.BatchNorm2d(4, eps=0.1),
    ],
    ids=str,
)
def test_a_recorded_layer_computes_the_same_after_loading(network, tmp_path, layer):
    replace_layer(network, "stages.0.1", layer)
    save(network.eval(), tmp_path)
    assert_equal_outputs(load(tmp_path), network, torch.randn(2, 1, 15, 15))
