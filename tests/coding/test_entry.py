"""`by: share` in a project."""

import json
import math
import shutil

import numpy as np
import onnx
import pytest
import torch
import yaml
from properties import assert_equal_weights, assert_explains

from espalier import files
from espalier.coding import pack, unpack
from espalier.commands import make
from espalier.errors import BadInput
from espalier.models import load
from espalier.models.structure import edits_of, shared_weights
from espalier.params import check

SHARE = {"from": "teacher", "by": "share"}
ENTRIES = {
    "kmeans": SHARE | {"bits": 3, "finetune": {"epochs": 1}},
    "untrained": SHARE
    | {"bits": {"conv": 5, "linear": 2}, "price": 0.01, "finetune": {"epochs": 0}},
    "rate": SHARE
    | {"method": "rate", "rate": 0.05, "vectors": "shared", "finetune": {"epochs": 2}},
    "fine": SHARE
    | {"method": "rate", "rate": 0.001, "vectors": "shared", "finetune": {"epochs": 1}}
    | {"fineness": {"weights": 1, "vectors": 64}},
    "further": {"from": "kmeans", "by": "train", "epochs": 1},
    "again": SHARE | {"from": "kmeans", "bits": 2, "finetune": {"epochs": 0}},
}


@pytest.fixture(scope="module")
def project(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "tiny"
    shutil.copytree(tiny, folder, ignore=shutil.ignore_patterns("locks", "work"))
    content = yaml.safe_load((folder / "params.yaml").read_text())
    (folder / "params.yaml").write_text(yaml.safe_dump(content | {"models": ENTRIES}))
    for name in ENTRIES:
        make.run(folder, name)
    return folder


@pytest.mark.parametrize("name", ENTRIES)
def test_the_packed_file_holds_the_weights_of_the_folder_and_its_size_is_the_one_reported(
    project, name, tmp_path
):
    model = project / "models" / name
    assert "packed.espalier" in files.verify(model)
    assert_equal_weights(unpack(model / "packed.espalier"), load(model))
    metrics = json.loads((model / "metrics.json").read_text())
    assert (
        metrics["packed_bytes"]
        == (model / "packed.espalier").stat().st_size
        == pack(load(model), tmp_path / "x")
    )
    assert metrics["packed_bytes"] < metrics["bytes"] / 3


def test_weights_and_vectors_begin_with_steps_of_their_own(project):
    found = {"weights": [], "vectors": []}
    for value in load(project / "models" / "fine").parameters():
        used = value[value != 0].double()
        step = math.gcd(*(int(element * 2**40) for element in used.tolist())) / 2**40
        steps = float(used.square().mean().sqrt()) / step
        found["weights" if value.ndim > 1 else "vectors"].append(steps)
    assert max(found["weights"]) < 4 < 16 < min(found["vectors"])


def test_every_model_reports_its_packed_size_and_only_shared_ones_have_the_file(project):
    metrics = json.loads((project / "models" / "teacher" / "metrics.json").read_text())
    assert metrics["packed_bytes"] == pytest.approx(4 * metrics["parameters"], rel=0.1)
    assert not (project / "models" / "teacher" / "packed.espalier").exists()


def test_codebooks_stay_in_further_training(project):
    before, after = (load(project / "models" / name) for name in ("kmeans", "further"))
    for name in shared_weights(before):
        former, now = before.get_parameter(name), after.get_parameter(name)
        assert not torch.equal(former, now)
        assert len(now.unique()) <= len(former.unique()) <= 9
    assert edits_of(after) == edits_of(before)


def test_the_deployed_file_has_the_weights_of_the_packed_one(digits, tmp_path):
    """For a network without batch norms, which the exporter would fold into convolutions."""
    shutil.copytree(digits, tmp_path / "prepared")
    teacher = {"model": "espalier:mlp", "arguments": {"hidden": [20]}, "epochs": 1}
    content = {"training": {"threads": 1}, "teacher": teacher}
    content["models"] = {"shared": SHARE | {"finetune": {"epochs": 1}}}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content))
    for name in ("teacher", "shared"):
        make.run(tmp_path, name)
    folder = tmp_path / "models" / "shared"
    held = [
        onnx.numpy_helper.to_array(one)
        for one in onnx.load(folder / "model.onnx").graph.initializer
    ]
    for parameter in unpack(folder / "packed.espalier").parameters():
        value = parameter.detach().numpy()
        assert any(np.array_equal(value, one) or np.array_equal(value.T, one) for one in held)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"bits": 0}, "`bits`"),
        ({"bits": {"conv": 3, "dense": 3}}, "dense"),
        ({"bits": 4, "method": "rate"}, "`bits`"),
        ({"rate": 0.1}, "`rate`"),
        ({"fineness": {"weights": 4}}, "`fineness`"),
        ({"method": "rate", "fineness": {"weights": 0}}, "weights"),
        ({"method": "rate", "fineness": 4}, "fineness"),
        ({"method": "rate", "fineness": {"vectors": 32}}, "`vectors: shared`"),
        ({"method": "vector"}, "method"),
        ({"vectors": "int8"}, "vectors"),
        ({"price": -1}, "price"),
    ],
)
def test_wrong_keys_are_refused_by_name(keys, word):
    with pytest.raises(BadInput) as caught:
        check({"teacher": {"model": "espalier:resnet"}, "models": {"a": SHARE | keys}})
    assert_explains(caught.value, word)


def test_a_price_without_training_is_refused(tiny_copy):
    project = tiny_copy()
    content = yaml.safe_load((project / "params.yaml").read_text())
    content["models"] = {"a": SHARE | {"method": "rate", "finetune": {"epochs": 0}}}
    (project / "params.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(BadInput) as caught:
        make.run(project, "a")
    assert_explains(caught.value, "models.a.finetune.epochs")
