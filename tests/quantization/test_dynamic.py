"""Dynamic quantization: linear layers in integers, everything else as it was."""

from collections import Counter

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from properties import assert_explains
from torch import nn

from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.quantization import quantize, quantize_dynamically
from espalier.quantization.recurrent import recurrent_notes
from espalier.runtimes import DEFAULT

PIXELS = torch.randint(
    0, 256, (32, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)


def deployed(path, factory, **arguments):
    torch.manual_seed(0)
    network = build(
        f"espalier:{factory}", classes=10, shape=(1, 16, 16), arguments=arguments
    ).eval()
    export(network, path / "parent.onnx", PIXELS[:4], Normalize((0.3,), (0.4,)))
    return path / "parent.onnx"


@pytest.mark.parametrize("per_channel", [True, False])
def test_linear_layers_become_integers_and_answers_stay(per_channel, tmp_path):
    source = deployed(tmp_path, "mlp", hidden=[64, 32])
    before = source.read_bytes()
    quantize_dynamically(source, tmp_path / "model.onnx", per_channel=per_channel)
    assert source.read_bytes() == before
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert Counter(node.op_type for node in graph.node)["MatMulInteger"] == 3
    integers = [
        numpy_helper.to_array(one)
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.INT8
    ]
    matrices = [one for one in integers if one.ndim == 2]
    assert len(matrices) == 3
    assert max(np.abs(one.astype(int)).max() for one in matrices) <= 64
    ours, theirs = (
        DEFAULT.open(tmp_path / f"{name}.onnx").outputs(PIXELS.numpy())
        for name in ("model", "parent")
    )
    assert 0 < np.abs(ours - theirs).mean() < 0.05 * theirs.std()
    assert (tmp_path / "model.onnx").stat().st_size < 0.35 * len(before)


class Recurrent(nn.Module):
    """A recurrent layer over the rows of an image."""

    def __init__(self, layer):
        super().__init__()
        self.recurrent, self.head = layer(16, 24, batch_first=True), nn.Linear(24, 10)

    def forward(self, images):
        return self.head(self.recurrent(images[:, 0])[0][:, -1])


@pytest.mark.parametrize(
    ("layer", "dynamic", "static"),
    [
        (nn.GRU, ("GRU layers stay in float32: ONNX Runtime has no GRU in integers.",), 1),
        (nn.LSTM, (), 1),
    ],
)
def test_recurrent_layers_that_stay_in_float_are_said(layer, dynamic, static, tmp_path):
    torch.manual_seed(0)
    source = tmp_path / "parent.onnx"
    export(Recurrent(layer).eval(), source, PIXELS[:4], Normalize((0.3,), (0.4,)))
    quantize_dynamically(source, tmp_path / "dynamic.onnx")
    quantize(source, tmp_path / "static.onnx", PIXELS.numpy())
    assert recurrent_notes(onnx.load(tmp_path / "dynamic.onnx")) == dynamic
    assert len(recurrent_notes(onnx.load(tmp_path / "static.onnx"))) == static
    assert recurrent_notes(onnx.load(source))[0].startswith(f"{layer.__name__} layers stay")


def test_convolutions_stay_in_floating_point(tmp_path):
    source = deployed(tmp_path, "lenet5")
    quantize_dynamically(source, tmp_path / "model.onnx")
    found = Counter(node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node)
    assert (found["Conv"], found["MatMulInteger"], found["ConvInteger"]) == (2, 2, 0)


def test_the_same_file_gives_the_same_file(tmp_path):
    source = deployed(tmp_path, "mlp", hidden=[16])
    for name in ("one", "other"):
        quantize_dynamically(source, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()


def test_a_network_without_linear_layers_is_refused_and_nothing_written(tmp_path):
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 10, 16), torch.nn.Flatten()).eval()
    export(network, tmp_path / "parent.onnx", PIXELS[:4], Normalize((0.3,), (0.4,)))
    with pytest.raises(BadInput) as caught:
        quantize_dynamically(tmp_path / "parent.onnx", tmp_path / "model.onnx")
    assert_explains(caught.value, "linear layers or LSTMs")
    assert [path.name for path in tmp_path.iterdir()] == ["parent.onnx"]
