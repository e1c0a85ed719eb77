"""`espalier prune WEIGHTS`: a trained network becomes a smaller one in a folder, without a project."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from properties import assert_explains
from torch import nn

from espalier import files
from espalier.commands import prune_file
from espalier.data.prepared import read_split
from espalier.errors import BadInput
from espalier.measures.macs import count_macs
from espalier.models import build, load
from espalier.models.trained import Weights
from espalier.runtimes import DEFAULT

SHAPE = (1, 8, 8)


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = build("espalier:resnet", classes=7, shape=SHAPE, arguments={"depth": 8, "width": 8})
    path = tmp_path / "net.pth"
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}},
        path,
    )
    return path


def run(weights, out, **changes):
    options = {"model": "espalier:resnet", "arguments": "{depth: 8, width: 8}", "shape": "1x8x8",
               "keep_macs": 0.5, "score": "magnitude", "align": 1} | changes  # fmt: skip
    prune_file.run(weights, out=out, **options)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_the_folder_holds_the_cut_network_and_its_file(weights, tmp_path, capsys):
    run(weights, tmp_path / "small")
    smaller = load(tmp_path / "small")
    whole = build("espalier:resnet", classes=7, shape=SHAPE, arguments={"depth": 8, "width": 8})
    images = torch.rand(3, *SHAPE)
    assert count_macs(smaller, images) <= 0.5 * count_macs(whole, images)
    with torch.no_grad():
        expected = smaller(images).numpy()
    found = DEFAULT.open(tmp_path / "small" / "model.onnx").outputs(images.numpy())
    assert abs(found - expected).max() < 1e-4
    line = capsys.readouterr().out
    for noun in ("multiply-accumulates (0.", "parameters (0.", "bytes (0.", "ms at batch 1 ("):
        assert noun in line


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory):
    """The weights of a network that knows the digits, and a folder of scans."""
    folder = tmp_path_factory.mktemp("trained")
    torch.save(load(tiny / "models" / "teacher").state_dict(), folder / "net.pth")
    for number, image in enumerate(read_split(tiny / "prepared", "train").inputs):
        path = folder / "images" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(image[0].numpy()).save(path)
    return folder


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_with_images_the_cut_network_answers_as_the_whole_one_more_often(
    trained, tiny, tmp_path, capsys
):
    described = files.read_json_object(tiny / "models" / "teacher" / "architecture.json")
    options = {
        "model": described["factory"],
        "arguments": str(described["arguments"]),
        "settings": "{mean: [0.3], std: [0.4]}",
        "calibrate": trained / "images",
    }
    run(trained / "net.pth", tmp_path / "with", **options)
    said = capsys.readouterr().out
    run(
        trained / "net.pth", tmp_path / "without", **options | {"calibrate": None, "settings": None}
    )
    assert "same answer" not in capsys.readouterr().out
    test = read_split(tiny / "prepared", "test").inputs
    images = (test.float() / 255 - 0.3) / 0.4
    same = {}
    with torch.no_grad():
        answers = load(tiny / "models" / "teacher")(images).argmax(1)
        for name in ("with", "without"):
            found = load(tmp_path / name)(images).argmax(1)
            same[name] = 100 * float((found == answers).float().mean())
    assert same["with"] > same["without"] + 10
    stated = float(said.split("% of")[0].rsplit(" ", 1)[1])
    assert abs(stated - same["with"]) < 10


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"settings": "{mean: [0.3]}"}, ["--calibrate", "--input"]),
        ({"calibrate": Path("nowhere")}, ["nowhere", "folder"]),
        ({"shape": "wide"}, ["--shape", "'wide'"]),
        ({"shape": "1x8"}, ["inputs of the shape 1x8", "--shape"]),
        ({"arguments": "depth"}, ["--arguments", "mapping"]),
        ({"arguments": "{depth: [1"}, ["--arguments", "YAML"]),
        ({"arguments": "{depth: 14, width: 8}"}, ["missing", "arguments"]),
    ],
)
def test_wrong_options_are_refused_and_nothing_is_written(weights, tmp_path, changes, words):
    with pytest.raises(BadInput) as refusal:
        run(weights, tmp_path / "small", **changes)
    assert_explains(refusal.value, *words)
    assert not (tmp_path / "small").exists()


class HeadFirst(nn.Module):
    """A network that defines its head before the layers that it reads."""

    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(16, classes)
        self.first, self.second = nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 16, 3, padding=1)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))


def test_the_head_may_be_defined_first():
    trained = HeadFirst(classes=7)
    network, notes = prune_file._fitted(HeadFirst, Weights(trained.state_dict()))
    assert notes == ()
    assert torch.equal(network.head.weight, trained.head.weight)


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_a_network_in_the_current_folder_is_found(weights, tmp_path):
    (tmp_path / "networks.py").write_text(
        "from espalier.models import build\n"
        "def mine(*, classes, shape):\n"
        "    arguments = {'depth': 8, 'width': 8}\n"
        "    return build('espalier:resnet', classes=classes, shape=shape, arguments=arguments)\n"
    )
    program = "from espalier.cli import main; main()"
    command = [
        sys.executable,
        "-P",
        "-c",
        program,
        "prune",
        "net.pth",
        "--model",
        "networks:mine",
        "--shape",
        "1x8x8",
        "--align",
        "1",
        "--out",
        "small",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_refused_export_leaves_no_folder(weights, tmp_path, monkeypatch):
    """The corrected second call would find it there."""

    def refuse(*_):
        raise BadInput("Expected a network that torch can export to ONNX; found none.")

    monkeypatch.setattr(prune_file, "export", refuse)
    with pytest.raises(BadInput):
        run(weights, tmp_path / "small")
    assert not (tmp_path / "small").exists()
    assert not list(tmp_path.glob(".espalier*"))
