"""A network that was trained elsewhere becomes the teacher of a tree, with its own preprocessing."""

import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from properties import assert_equal_weights, assert_explains

from espalier import files
from espalier.commands import evaluate, import_network, make, register
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.models import load
from espalier.models.folder import read_architecture
from espalier.runtimes import DEFAULT

RESNET = {"model": "espalier:resnet", "arguments": {"depth": 8, "width": 8}}
SCALED = {"size": 12, "range": [-1, 1], "channels": "gray"}
TEACHER = {"by": "import", **RESNET, "weights": "weights/net.pth", "input": SCALED}
MODELS = {
    "taught": {"from": "teacher", "by": "distill", **RESNET, "epochs": 1},
    "hinted": {
        "from": "teacher",
        "by": "distill",
        **RESNET,
        "epochs": 1,
        "losses": [{"loss": "hints"}, {"loss": "labels"}],
    },
    "cut": {
        "from": "teacher",
        "by": "prune",
        "keep_macs": 0.6,
        "align": 1,
        "finetune": {"epochs": 1},
    },
    "folded": {"from": "cut", "by": "fold", "fold": "batch_norms"},
    "int8": {"from": "cut", "by": "quantize", "images": 64},
    "again": {"from": "teacher", **TEACHER},
}
DEPENDENCIES = {
    "stages": {"teacher": {"deps": ["${teacher.weights}"]}, "model": {"do": {"deps": ["weights"]}}}
}


def seen(images):
    """The inputs of the network in the user's own loop: pixels in [-1, 1], enlarged to 12x12."""
    pixels = images.float().numpy()
    from PIL import Image

    large = [
        np.asarray(
            Image.fromarray(one[0].astype(np.uint8)).resize((12, 12), Image.Resampling.BILINEAR)
        )
        for one in pixels
    ]
    return torch.from_numpy(np.stack(large)[:, None].astype(np.float32)) / 127.5 - 1


@pytest.fixture(scope="module")
def trained(digits, tmp_path_factory):
    """A checkpoint of a user's own training loop, with her own preprocessing; her accuracy on validation."""
    from espalier.models import build

    torch.manual_seed(0)
    network = torch.nn.DataParallel(
        build("espalier:resnet", classes=10, shape=(1, 12, 12), arguments=RESNET["arguments"])
    )
    train, validation = read_split(digits, "train"), read_split(digits, "validation")
    images, optimizer = seen(train.inputs), torch.optim.Adam(network.parameters(), 0.003)
    for _ in range(4):
        for index in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(
                network(images[index]), train.targets[index]
            ).backward()
            optimizer.step()
    with torch.no_grad():
        accuracy = (
            (network.eval()(seen(validation.inputs)).argmax(1) == validation.targets).float().mean()
        )
    path = tmp_path_factory.mktemp("trained") / "net.pth"
    torch.save({"state_dict": network.state_dict(), "epoch": 4}, path)
    assert accuracy > 0.9
    return path, float(accuracy)


@pytest.fixture(scope="module")
def imported(tiny, trained, tmp_path_factory):
    """A project whose teacher is that network, with every kind of child, evaluated."""
    root = tmp_path_factory.mktemp("imported") / "project"
    shutil.copytree(
        tiny, root, ignore=shutil.ignore_patterns("models", "locks", "work", "checkpoints")
    )
    (root / "weights").mkdir()
    shutil.copy(trained[0], root / "weights" / "net.pth")
    (root / "dvc.yaml").write_text(yaml.safe_dump(DEPENDENCIES))
    declare(root, TEACHER, MODELS)
    for name in ("teacher", *MODELS):
        make.run(root, name)
    evaluate.run(root)
    return root


def declare(root, teacher, models=None):
    content = yaml.safe_load((root / "params.yaml").read_text())
    content |= {"teacher": teacher, "models": models or {}}
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


@pytest.fixture
def fresh(imported, tmp_path):
    root = tmp_path / "project"
    shutil.copytree(imported, root, ignore=shutil.ignore_patterns("models", "reports", "bank"))
    return root


def test_the_teacher_is_as_accurate_as_in_its_owners_loop(imported, trained):
    metrics = files.read_json(imported / "models" / "teacher" / "metrics.json")
    assert metrics["imported_accuracy"] == pytest.approx(trained[1], abs=1e-6)
    assert metrics["validation_accuracy"] == pytest.approx(trained[1], abs=0.5 / 216)
    assert metrics["epochs"] == 0


def test_descendants_keep_its_preprocessing_and_new_networks_have_that_of_the_data(imported):
    own = {
        name: read_architecture(imported / "models" / name).preprocessing
        for name in ("teacher", *MODELS)
    }
    assert own["teacher"]["size"] == 12
    assert all(own[name] == own["teacher"] for name in ("cut", "folded", "int8", "again"))
    assert own["taught"] is own["hinted"] is None


def test_every_deployed_file_takes_stored_images_and_gives_the_outputs_of_its_network(imported):
    """Pillow rounds the enlarged pixels to whole numbers, which the file does not."""
    test = read_split(imported / "prepared", "test")
    for name in ("teacher", "cut", "folded"):
        network = load(imported / "models" / name)
        with torch.no_grad():
            expected = network(seen(test.inputs)).numpy()
        found = DEFAULT.open(imported / "models" / name / "model.onnx").outputs(test.inputs.numpy())
        assert np.abs(found - expected).mean() < 0.01 * expected.std()
        predictions = pd.read_parquet(imported / "reports" / "predictions" / f"{name}.parquet")
        assert (predictions["predicted"].to_numpy() == found.argmax(1)).all()


def test_the_front_stays_in_floating_point(imported):
    import onnx

    graph = onnx.load(imported / "models" / "int8" / "model.onnx").graph
    kinds = [node.op_type for node in graph.node]
    front = kinds[: kinds.index("QuantizeLinear")]
    assert front.count("MatMul") == 2


def test_the_same_weights_under_models_give_the_same_bits(imported):
    assert_equal_weights(load(imported / "models" / "again"), load(imported / "models" / "teacher"))


def test_the_hash_of_the_weights_is_in_the_lineage_and_other_weights_are_another_model(
    fresh, capsys
):
    make.run(fresh, "teacher")
    lineage = files.read_json(fresh / "models" / "teacher" / "lineage.json")
    path = fresh / "weights" / "net.pth"
    assert lineage["files"] == {"weights/net.pth": files.sha256(path)}
    make.run(fresh, "teacher")
    assert "already made" in capsys.readouterr().out
    content = torch.load(path, weights_only=True)
    content["state_dict"] = {
        name: value + 1 if value.is_floating_point() else value
        for name, value in content["state_dict"].items()
    }
    torch.save(content, path)
    make.run(fresh, "teacher")
    assert "already made" not in capsys.readouterr().out


def test_a_child_is_made_again_when_only_the_preprocessing_of_its_parent_changed(fresh):
    for name in ("teacher", "cut"):
        make.run(fresh, name)
    before = files.read_json(fresh / "models" / "cut" / "lineage.json")["key"]
    declare(fresh, TEACHER | {"input": SCALED | {"interpolation": "bicubic"}}, MODELS)
    for name in ("teacher", "cut"):
        make.run(fresh, name)
    assert files.read_json(fresh / "models" / "cut" / "lineage.json")["key"] != before


def test_a_wrong_preprocessing_is_an_error_that_names_the_right_one(fresh, trained):
    wrong = {"size": 8, "range": [0, 1], "mean": [-9.0]}
    declare(fresh, TEACHER | {"input": wrong, "expect": trained[1]})
    with pytest.raises(BadInput) as refusal:
        make.run(fresh, "teacher")
    assert_explains(refusal.value, "expect", f"{trained[1]:.2%}", "preprocessing")
    assert not (fresh / "models" / "teacher").exists()
    declare(fresh, TEACHER | {"expect": trained[1]})
    make.run(fresh, "teacher")


def test_a_weights_file_that_dvc_does_not_know_is_refused_with_the_line_to_add(fresh):
    (fresh / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"teacher": {"deps": ["prepared"]}}}))
    with pytest.raises(BadInput) as refusal:
        make.run(fresh, "teacher")
    assert_explains(refusal.value, "stages.teacher.deps", "- weights/net.pth")


def test_no_file_of_weights_is_refused_by_name(fresh):
    declare(fresh, TEACHER | {"weights": "weights/other.pth"})
    with pytest.raises(BadInput) as refusal:
        make.run(fresh, "teacher")
    assert_explains(refusal.value, "weights/other.pth")


def test_a_new_head_is_trained_while_the_body_is_frozen(fresh):
    teacher = {key: value for key, value in TEACHER.items() if key != "input"}
    declare(fresh, teacher | {"head": "new"})
    with pytest.raises(BadInput) as refusal:
        make.run(fresh, "teacher")
    assert_explains(refusal.value, "epochs")
    declare(fresh, teacher | {"head": "new", "epochs": 1, "freeze": ["stages"]})
    make.run(fresh, "teacher")
    state = load(fresh / "models" / "teacher").state_dict()
    given = torch.load(fresh / "weights" / "net.pth", weights_only=True)["state_dict"]
    kept = [name for name in state if torch.equal(state[name], given["module." + name])]
    assert any(name.startswith("stages") for name in kept)


def test_the_command_says_the_accuracy_and_the_lines_to_write(fresh, trained, capsys):
    import_network.run(
        fresh,
        "weights/net.pth",
        "espalier:resnet",
        "{depth: 8, width: 8}",
        "{size: 12, range: [-1, 1]}",
        None,
    )
    said = capsys.readouterr().out
    assert f"{trained[1]:.2%}" in said
    snippet = yaml.safe_load(
        next(line for line in said.splitlines() if line.startswith("teacher: "))
    )
    declare(fresh, snippet["teacher"])
    make.run(fresh, "teacher")
    assert "dvc.yaml" not in said  # whose stage depends on the file already


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [(None, None, ["--model"]), ("espalier:resnet", "{depth: [8", ["--arguments", "YAML"])],
)
def test_wrong_options_of_the_command_are_refused_by_name(fresh, model, arguments, words):
    with pytest.raises(BadInput) as refusal:
        import_network.run(fresh, "weights/net.pth", model, arguments, None, None)
    assert_explains(refusal.value, *words)


def test_the_command_names_a_preprocessing_that_is_better(fresh, capsys):
    import_network.run(
        fresh,
        "weights/net.pth",
        "espalier:resnet",
        "{depth: 8, width: 8}",
        "{size: 12, range: [0, 255]}",
        None,
    )
    assert "With another preprocessing" in capsys.readouterr().out


def test_the_projects_own_package_needs_no_pythonpath(fresh):
    (fresh / "networks.py").write_text(
        "from espalier.models import build\n"
        "def net(*, classes, shape):\n"
        "    return build('espalier:resnet', classes=classes, shape=shape, arguments={'depth': 8, 'width': 8})\n"
    )
    declare(fresh, TEACHER | {"model": "networks:net", "arguments": {}})
    content = yaml.safe_load((fresh / "params.yaml").read_text()) | {"trusted": ["networks"]}
    (fresh / "params.yaml").write_text(yaml.safe_dump(content))
    program = "from espalier.cli import main; main(['make', 'teacher'])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=fresh,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_change_of_the_projects_own_code_makes_its_models_again(fresh, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(fresh))
    path = fresh / "own_networks.py"
    source = (
        "from espalier.models import build\n"
        "def net(*, classes, shape):\n"
        "    arguments = {'depth': 8, 'width': 8}\n"
        "    return build('espalier:resnet', classes=classes, shape=shape, arguments=arguments)\n"
    )
    path.write_text(source)
    declare(fresh, TEACHER | {"model": "own_networks:net", "arguments": {}}, {"cut": MODELS["cut"]})
    content = yaml.safe_load((fresh / "params.yaml").read_text()) | {"trusted": ["own_networks"]}
    (fresh / "params.yaml").write_text(yaml.safe_dump(content))
    for name in ("teacher", "cut"):
        make.run(fresh, name)
        lineage = files.read_json(fresh / "models" / name / "lineage.json")
        assert lineage["code"] == {"own_networks": files.sha256(path)}
    path.write_text(source + "# another\n")
    capsys.readouterr()
    for name in ("teacher", "cut"):
        make.run(fresh, name)
    assert "already made" not in capsys.readouterr().out


def test_it_is_registered_like_any_other(imported):
    register.run(imported)
    receipt = files.read_json(imported / "registered.json")
    assert set(receipt["models"]) == {"teacher", *MODELS}
