"""The deployed file takes pixels, in any number, and computes what the network does."""

import sysconfig
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from properties import assert_explains

from espalier.errors import BadInput
from espalier.export.onnx import Disagreement, export, relative_difference
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.runtimes import DEFAULT
from espalier.runtimes.onnx_runtime import Session

MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)
IMAGES = torch.randint(
    0, 256, (7, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def seen(images: torch.Tensor) -> torch.Tensor:
    """The input of a network computed from pixels, in double precision and as textbooks state it."""
    mean, std = (torch.tensor(value, dtype=torch.double)[:, None, None] for value in (MEAN, STD))
    return (images.double() / 255 - mean) / std


@pytest.mark.parametrize(
    ("factory", "arguments"),
    [("resnet", {"depth": 8, "width": 4}), ("vgg", {"depth": 11, "width": 4}), ("mobilenet", {"multiplier": 0.25}),
     ("lenet5", {}), ("mlp", {"hidden": [16]}), ("wide_resnet", {"depth": 10, "widen": 1, "dropout": 0.5})],
)  # fmt: skip
def test_pixels_go_in_and_the_logits_are_the_networks(factory, arguments, tmp_path):
    """Also of a network in training mode with dropout: the file holds what evaluation computes."""
    network = build(
        f"espalier:{factory}", classes=5, shape=(3, 16, 16), arguments=arguments
    ).train()
    difference = export(network, tmp_path / "model.onnx", IMAGES, Normalize(MEAN, STD))
    logits = DEFAULT.open(tmp_path / "model.onnx").run(IMAGES.numpy())
    with torch.no_grad():
        exact = network.eval().double()(seen(IMAGES)).numpy()
    assert difference <= 1e-4
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, exact, rtol=0, atol=1e-4 * max(1.0, np.abs(exact).max()))


@pytest.fixture
def exported(tmp_path):
    network = build(
        "espalier:resnet", classes=5, shape=(3, 16, 16), arguments={"depth": 8, "width": 4}
    )
    export(network, tmp_path / "model.onnx", IMAGES, Normalize(MEAN, STD))
    return tmp_path / "model.onnx"


def test_the_batch_is_free_and_everything_else_is_fixed(exported):
    session = onnxruntime.InferenceSession(exported)
    (given,), (result,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == ("image", "tensor(uint8)", ["batch", 3, 16, 16])
    assert (result.name, result.type, result.shape) == ("logits", "tensor(float)", ["batch", 5])
    runtime = DEFAULT.open(exported)
    whole = runtime.run(IMAGES.numpy())
    one_by_one = np.concatenate(
        [runtime.run(IMAGES[i : i + 1].numpy()) for i in range(len(IMAGES))]
    )
    np.testing.assert_allclose(one_by_one, whole, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        runtime.outputs(IMAGES.numpy(), batch_size=3), whole, rtol=0, atol=1e-5
    )


def test_the_file_knows_nothing_of_the_machine_that_wrote_it(exported, project_root):
    content = exported.read_bytes()
    for place in (
        str(Path.cwd()),
        str(project_root),
        sysconfig.get_path("purelib"),
        "site-packages",
        str(exported.parent),
    ):
        assert place.encode() not in content
    onnx.checker.check_model(onnx.load(exported), full_check=True)


def test_the_same_network_gives_the_same_file(exported, tmp_path):
    torch.manual_seed(0)
    network = build(
        "espalier:resnet", classes=5, shape=(3, 16, 16), arguments={"depth": 8, "width": 4}
    )
    export(network, tmp_path / "again.onnx", IMAGES, Normalize(MEAN, STD))
    assert (tmp_path / "again.onnx").read_bytes() == exported.read_bytes()


@pytest.mark.parametrize("error", [0.01, float("nan")])
def test_a_file_that_computes_something_else_is_refused(tmp_path, monkeypatch, error):
    honest = Session.outputs
    monkeypatch.setattr(Session, "outputs", lambda self, images: honest(self, images) + error)
    network = build("espalier:mlp", classes=5, shape=(3, 16, 16), arguments={"hidden": [8]})
    with pytest.raises(
        Disagreement,
        match=r"to agree with the network to 0.0001; found a difference of (0\.0\d+|nan)",
    ):
        export(network, tmp_path / "model.onnx", IMAGES, Normalize(MEAN, STD))


def test_the_exporters_own_words_stay_inside(tmp_path, capfd, recwarn):
    network = build(
        "espalier:mobilenet", classes=5, shape=(3, 16, 16), arguments={"multiplier": 0.25}
    )
    export(network, tmp_path / "model.onnx", IMAGES, Normalize(MEAN, STD))
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ([0.5, 0.25], [0.5, 0.0], 0.25),
        ([10.0, 5.0], [10.0, 4.0], 0.1),
        ([-20.0, 0.0], [-20.0, 1.0], 0.05),
    ],
)
def test_differences_are_relative_to_the_largest_value_above_one(one, other, difference):
    assert relative_difference(np.array(one), np.array(other)) == pytest.approx(difference)


def test_the_front_is_named_as_a_part_of_the_file(exported):
    """Files keep the bytes of versions in which the front was no module: names, and their order."""
    graph = onnx.load(exported).graph
    assert [tensor.name for tensor in graph.initializer[:2]] == ["scale", "shift"]
    assert {"/Cast", "/Mul", "/Add"} <= {node.name for node in graph.node}


class TwoOutputs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = torch.nn.Conv2d(1, 4, 3), torch.nn.Linear(4, 5)

    def forward(self, x):
        features = self.body(x).relu().mean((2, 3))
        return self.head(features), features


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (TwoOutputs(), ["one tensor", "tuple"]),
        (
            torch.nn.Sequential(
                torch.nn.InstanceNorm2d(1, track_running_stats=True),
                torch.nn.Flatten(),
                torch.nn.Linear(64, 5),
            ),
            ["export", "ONNX"],
        ),
    ],
    ids=["several outputs", "an operator of no export"],
)
def test_a_network_that_cannot_be_deployed_is_refused_in_a_sentence(network, words, tmp_path):
    images = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    with pytest.raises(BadInput) as refusal:
        export(network.eval(), tmp_path / "model.onnx", images, Normalize([0.5], [0.5]))
    assert_explains(refusal.value, *words)


def test_the_network_is_as_it_was_after_an_export(tmp_path):
    """A training that exports each epoch goes on with dropout and batch statistics."""
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(768, 8), torch.nn.BatchNorm1d(8), torch.nn.Dropout()
    )
    network.train()
    network[2].eval()
    export(network, tmp_path / "model.onnx", IMAGES, Normalize(MEAN, STD))
    assert [layer.training for layer in network] == [True, True, False, True]
