import json
import warnings

import pytest
import torch
from cases import NETWORKS
from properties import (
    assert_equal_outputs,
    assert_equal_weights,
    assert_explains,
    assert_input_untouched,
    assert_random_numbers_untouched,
)
from torch import nn

from espalier import files
from espalier.errors import BadInput, Notice
from espalier.models import Architecture, build, content_hash, load, save
from espalier.pruning import prune

FILES = {"architecture.json", "manifest.json", "weights.safetensors"}


def built(case):
    """A network whose running statistics have changed."""
    torch.manual_seed(3)
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    for _ in range(2):
        network(torch.randn(8, *case.shape))
    return network


@pytest.fixture
def small():
    return built(next(case for case in NETWORKS if case.factory == "espalier:resnet"))


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_a_loaded_network_equals_the_saved_one_bit_for_bit(case, tmp_path):
    network = built(case)
    with assert_input_untouched(network):
        save(network, tmp_path / "model")
    again = load(tmp_path / "model")
    assert not again.training
    assert_equal_weights(again, network)
    assert_equal_outputs(again, network, torch.randn(4, *case.shape))


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_a_pruned_network_is_loaded_bit_for_bit(case, tmp_path):
    network = built(case)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", Notice
        )  # that such narrow layers miss the target is no matter here
        smaller = prune(network, torch.randn(2, *case.shape), keep_macs=0.6, align=1)
    save(smaller, tmp_path / "model")
    again = load(tmp_path / "model")
    assert_equal_weights(again, smaller)
    assert_equal_outputs(again, smaller, torch.randn(4, *case.shape))
    assert sum(p.numel() for p in again.parameters()) < sum(p.numel() for p in network.parameters())


def test_layers_of_a_loaded_pruned_network_have_the_sizes_of_their_weights(small, tmp_path):
    save(prune(small, torch.randn(2, 1, 16, 16), keep_macs=0.6, align=1), tmp_path)
    for layer in load(tmp_path).modules():
        if isinstance(layer, nn.Conv2d):
            assert list(layer.weight.shape[:2]) == [
                layer.out_channels,
                layer.in_channels // layer.groups,
            ]
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.num_features == len(layer.weight) == len(layer.running_mean)
        elif isinstance(layer, nn.Linear):
            assert list(layer.weight.shape) == [layer.out_features, layer.in_features]


def test_the_memory_layout_of_the_filters_does_not_matter(small, tmp_path):
    save(small, tmp_path / "rows")
    save(small.to(memory_format=torch.channels_last), tmp_path / "channels_last")
    assert files.sha256(tmp_path / "rows" / "weights.safetensors") == files.sha256(
        tmp_path / "channels_last" / "weights.safetensors"
    )
    assert_equal_weights(load(tmp_path / "channels_last"), small)


def test_tied_weights_are_saved_under_each_of_their_names(tmp_path, monkeypatch):
    (tmp_path / "tied.py").write_text(
        "from torch import nn\n"
        "def net(*, classes, shape):\n"
        "    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))\n"
        "    network[1].weight = network[0].weight\n"
        "    return network\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = build("tied:net", classes=4, shape=(1, 2, 2), trusted=["tied"])
    save(network, tmp_path / "model")
    again = load(tmp_path / "model", trusted=["tied"])
    assert again[0].weight is again[1].weight
    assert_equal_outputs(again, network, torch.randn(3, 4))


def test_a_folder_holds_json_and_safetensors_and_no_pickle(small, tmp_path):
    save(small, tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES
    architecture = json.loads((tmp_path / "model" / "architecture.json").read_text())
    assert architecture["factory"] == "espalier:resnet"
    weights = (tmp_path / "model" / "weights.safetensors").read_bytes()
    header = json.loads(weights[8 : 8 + int.from_bytes(weights[:8], "little")])
    assert set(header) - {"__metadata__"} == set(small.state_dict())


@pytest.mark.parametrize("name", ["architecture.json", "weights.safetensors"])
@pytest.mark.parametrize("place", [0, -1])
def test_a_changed_byte_is_detected_and_the_file_named(small, tmp_path, name, place):
    save(small, tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[place] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert_explains(caught.value, str(tmp_path / name), "damaged")


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_detected_and_named(small, tmp_path, name):
    save(small, tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert_explains(caught.value, name)


@pytest.mark.parametrize(
    "factory", ["os:system", "evil:run", "subprocess:getoutput", "builtins:eval"]
)
def test_a_folder_from_elsewhere_cannot_run_code(small, tmp_path, monkeypatch, factory):
    """Its hashes are right: an attacker would forge the manifest as well."""
    (tmp_path / "evil.py").write_text(
        f"open({str(tmp_path / 'executed')!r}, 'w')\ndef run(**given): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "model"
    save(small, folder)
    content = json.loads((folder / "architecture.json").read_text())
    content |= {"factory": factory, "arguments": {"command": f"touch {tmp_path / 'executed'}"}}
    files.write_json(folder / "architecture.json", content)
    files.seal(folder)
    with pytest.raises(BadInput) as caught:
        load(folder)
    assert_explains(caught.value, factory, "`trusted`")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"extra": 1}, "extra"),
        ({"shape": None}, "`shape`"),
        (
            {"edits": [{"edit": "narrowed", "shapes": {}, "groups": {}, "heads": {}}]},
            "found no conv",
        ),
        ({"factory": "espalier:mlp", "arguments": {}}, "in addition"),
    ],
)
def test_an_architecture_that_contradicts_the_weights_is_refused(small, tmp_path, change, word):
    save(small, tmp_path)
    content = json.loads((tmp_path / "architecture.json").read_text()) | change
    files.write_json(tmp_path / "architecture.json", content)
    files.seal(tmp_path)
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert_explains(caught.value, word)


def test_loading_draws_no_random_numbers(small, tmp_path):
    save(small, tmp_path)
    with assert_random_numbers_untouched():
        load(tmp_path)


def test_a_network_built_elsewhere_is_saved_once_an_architecture_is_attached(small, tmp_path):
    with pytest.raises(BadInput) as caught:
        save(nn.Linear(2, 2), tmp_path)
    assert_explains(caught.value, "attach", "a Linear")
    assert not list(tmp_path.iterdir())
    foreign = build(
        "espalier:resnet", classes=10, shape=(1, 16, 16), arguments={"depth": 8, "width": 8}
    )
    del foreign._espalier_architecture
    Architecture("espalier:resnet", 10, (1, 16, 16), {"depth": 8, "width": 8}).attach(foreign)
    save(foreign, tmp_path)
    assert_equal_weights(load(tmp_path), foreign)


def test_the_content_hash_does_not_depend_on_time_or_place(small, tmp_path):
    for name in ("one", "other", "changed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(b"deployed")
        (tmp_path / name / "lineage.json").write_text(json.dumps({"finished": name}))
        if name == "changed":
            with torch.no_grad():
                small.head.bias[0] += 1
        save(small, tmp_path / name)
    assert (
        content_hash(tmp_path / "one")
        == content_hash(tmp_path / "other")
        != content_hash(tmp_path / "changed")
    )


def test_a_folder_without_a_deployed_file_has_no_content_hash(small, tmp_path):
    save(small, tmp_path)
    with pytest.raises(BadInput) as caught:
        content_hash(tmp_path)
    assert_explains(caught.value, "model.onnx")
