"""A trained network that is an ONNX file and nothing else becomes the teacher of a tree."""

import shutil

import numpy as np
import onnx
import pytest
import torch
import yaml
from models.onnx_files import Source, write_onnx
from properties import assert_explains

from espalier import files
from espalier.commands import evaluate, import_network, make, prune_file, register
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.measures.macs import count_macs
from espalier.models import load
from espalier.models.folder import read_architecture
from espalier.runtimes import DEFAULT

SHAPE = (3, 8, 8)
SOURCE = Source("espalier:resnet", SHAPE, (("depth", 8), ("width", 8)))
TEACHER = {"by": "import", "weights": "net.onnx", "input": {"range": [-1, 1], "channels": "rgb"}}
MODELS = {
    "taught": {
        "from": "teacher",
        "by": "distill",
        "model": "espalier:resnet",
        "arguments": {"depth": 8, "width": 4},
        "epochs": 1,
    },
    "cut": {
        "from": "teacher",
        "by": "prune",
        "keep_macs": 0.5,
        "align": 1,
        "finetune": {"epochs": 2},
    },
    "int8": {"from": "cut", "by": "quantize", "images": 64},
    "again": {"from": "teacher", **TEACHER},
}
DEPENDENCIES = {
    "stages": {"teacher": {"deps": ["net.onnx"]}, "model": {"do": {"deps": ["net.onnx"]}}}
}


def seen(images):
    """The inputs of the network in its owner's loop: three equal channels in [-1, 1]."""
    return images.float().expand(-1, 3, -1, -1) / 127.5 - 1


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """The file of a user's own training, and the accuracy on validation."""
    network = SOURCE.build().train()
    train, validation = read_split(digits, "train"), read_split(digits, "validation")
    images, optimizer = seen(train.inputs), torch.optim.Adam(network.parameters(), 0.003)
    torch.manual_seed(0)
    for _ in range(4):
        for index in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(images[index]), train.targets[index])
            loss.backward()
            optimizer.step()
    network.eval()
    path = write_onnx(network, tmp_path_factory.mktemp("trained") / "net.onnx", SHAPE)
    outputs = DEFAULT.open(path).outputs(seen(validation.inputs).numpy())
    accuracy = float((outputs.argmax(1) == validation.targets.numpy()).mean())
    assert accuracy > 0.9
    return path, accuracy


def declare(root, teacher, models=None):
    content = yaml.safe_load((root / "params.yaml").read_text())
    content |= {"teacher": teacher, "models": models or {}}
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture
def fresh(tiny, trained, tmp_path):
    root = tmp_path / "project"
    ignored = shutil.ignore_patterns("models", "locks", "work", "checkpoints")
    shutil.copytree(tiny, root, ignore=ignored)
    shutil.copy(trained[0], root / "net.onnx")
    (root / "dvc.yaml").write_text(yaml.safe_dump(DEPENDENCIES))
    declare(root, TEACHER, MODELS)
    return root


def test_it_is_taught_pruned_quantized_evaluated_and_registered(fresh, trained):
    for name in ("teacher", *MODELS):
        make.run(fresh, name)
    evaluate.run(fresh)
    register.run(fresh)
    assert set(files.read_json(fresh / "registered.json")["models"]) == {"teacher", *MODELS}
    metrics = {
        name: files.read_json(fresh / "models" / name / "metrics.json")
        for name in ("teacher", *MODELS)
    }
    assert metrics["teacher"]["imported_accuracy"] == pytest.approx(trained[1], abs=1e-6)
    assert metrics["cut"]["macs"] <= 0.5 * metrics["teacher"]["macs"]
    scores = {name: one["validation_accuracy"] for name, one in metrics.items()}
    assert scores["cut"] > 0.5
    assert scores["int8"] > scores["cut"] - 0.05
    lineage = files.read_json(fresh / "models" / "teacher" / "lineage.json")
    assert lineage["files"] == {"net.onnx": files.sha256(fresh / "net.onnx")}
    assert read_architecture(fresh / "models" / "cut").factory == "espalier:onnx"


def test_the_teacher_answers_as_the_file_does_to_stored_pixels(fresh, digits, trained):
    make.run(fresh, "teacher")
    pixels = read_split(digits, "validation").inputs
    expected = DEFAULT.open(trained[0]).outputs(seen(pixels).numpy())
    found = DEFAULT.open(fresh / "models" / "teacher" / "model.onnx").outputs(pixels.numpy())
    assert np.abs(found - expected).max() <= 1e-4 * max(1, np.abs(expected).max())


def test_another_file_makes_the_teacher_again(fresh, capsys):
    make.run(fresh, "teacher")
    make.run(fresh, "teacher")
    assert "already made" in capsys.readouterr().out
    model = onnx.load(fresh / "net.onnx")
    model.doc_string = "another"
    onnx.save(model, fresh / "net.onnx")
    make.run(fresh, "teacher")
    assert "already made" not in capsys.readouterr().out


def test_the_command_says_the_accuracy_and_the_lines_to_write(fresh, trained, capsys):
    (fresh / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"teacher": {"deps": ["prepared"]}}}))
    import_network.run(fresh, "net.onnx", None, None, "{range: [-1, 1], channels: rgb}", None)
    said = capsys.readouterr().out
    assert f"{trained[1]:.2%}" in said
    assert "- net.onnx" in said
    (line,) = (line for line in said.splitlines() if line.startswith("teacher: "))
    assert yaml.safe_load(line)["teacher"] == TEACHER


def test_a_new_head_is_trained_for_the_classes_of_the_data(fresh):
    other = SOURCE.build()
    for name, layer in other.named_modules():
        if isinstance(layer, torch.nn.Linear):
            other.set_submodule(name, torch.nn.Linear(layer.in_features, 17))
    write_onnx(other, fresh / "net.onnx", SHAPE)
    with pytest.raises(BadInput) as refusal:
        make.run(fresh, "teacher")
    assert_explains(refusal.value, "10 outputs", "17", "`head: new`")
    declare(fresh, TEACHER | {"head": "new", "epochs": 1})
    make.run(fresh, "teacher")
    assert load(fresh / "models" / "teacher")(torch.rand(2, *SHAPE)).shape == (2, 10)


def test_a_file_for_other_images_is_refused(fresh):
    declare(fresh, {"by": "import", "weights": "net.onnx"})
    with pytest.raises(BadInput) as refusal:
        make.run(fresh, "teacher")
    assert_explains(refusal.value, "1x8x8", "3x8x8", "`input`")


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        ({"weights": "net.onnx", "model": "espalier:resnet"}, ["`model`", "ONNX file"]),
        ({"weights": "net.onnx", "arguments": {"depth": 8}}, ["`arguments`", "ONNX file"]),
        ({"weights": "net.onnx", "key": "model"}, ["`key`", "ONNX file"]),
        ({"weights": "net.pth", "model": "espalier:onnx"}, ["espalier:onnx", "'net.pth'"]),
        ({"weights": "net.pt2"}, ["torch.export", "torch.onnx.export"]),
    ],
)
def test_keys_that_contradict_the_file_are_refused_by_name(fresh, teacher, words):
    declare(fresh, {"by": "import", **teacher})
    with pytest.raises(BadInput) as refusal:
        make.run(fresh, "teacher")
    assert_explains(refusal.value, *words)


PRUNE = {"model": None, "arguments": None, "shape": None, "keep_macs": 0.5, "score": "magnitude"}


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_file_is_pruned_without_a_project(trained, tmp_path, capsys):
    prune_file.run(trained[0], **PRUNE, align=1, out=tmp_path / "small")
    smaller, whole = load(tmp_path / "small"), SOURCE.build()
    images = torch.rand(3, *SHAPE)
    assert count_macs(smaller, images) <= 0.5 * count_macs(whole, images)
    assert "multiply-accumulates" in capsys.readouterr().out
    with torch.no_grad():
        expected = smaller(images).numpy()
    found = DEFAULT.open(tmp_path / "small" / "model.onnx").outputs(images.numpy())
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("net.onnx", {"model": "espalier:resnet"}, ["--model", "ONNX file"]),
        ("net.onnx", {"shape": "3x9x9"}, ["3x9x9", "3x8x8"]),
        ("net.pth", {}, ["--model", "torchvision:resnet18"]),
        ("net.pt2", {"model": "espalier:resnet"}, ["torch.export"]),
    ],
)
def test_wrong_options_of_prune_are_refused(trained, tmp_path, file, changes, words):
    shutil.copy(trained[0], tmp_path / file)
    with pytest.raises(BadInput) as refusal:
        prune_file.run(tmp_path / file, **PRUNE | changes, align=1, out=tmp_path / "small")
    assert_explains(refusal.value, *words)
    assert not (tmp_path / "small").exists()
