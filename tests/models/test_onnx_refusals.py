"""An ONNX file that cannot be taken is refused in one sentence, and no file runs code."""

import contextlib
import io
import os
import zipfile

import numpy as np
import onnx
import pytest
import torch
from models.onnx_files import Source, write_onnx
from onnx import TensorProto, helper, numpy_helper
from properties import assert_explains

from espalier.errors import BadInput
from espalier.export.agreement import check_agreement
from espalier.models import build
from espalier.models.onnx_import import read_onnx
from espalier.models.trained import read_weights
from espalier.quantization import quantize

RESNET = Source("espalier:resnet", (1, 8, 8), (("depth", 8), ("width", 8)))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_onnx(RESNET.build(), tmp_path_factory.mktemp("onnx") / "net.onnx", RESNET.shape)


def odd_file(
    tmp_path, nodes, *, kind=TensorProto.FLOAT, shape=("batch", 4), inputs=1, outputs=("y",)
):
    """A file of some nodes between `x` and its outputs."""
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info(f"x{n or ''}", kind, shape) for n in range(inputs)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.ones((4, 4), np.float32), "matrix")],
    )
    path = tmp_path / "odd.onnx"
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


PRODUCT = helper.make_node("MatMul", ["x", "matrix"], ["y"])
ODD = {
    "an operator without a row": (
        {"nodes": [helper.make_node("Det", ["x"], ["y"], "deep")], "shape": ("batch", 4, 4)},
        ["Det deep", "espalier quantize"],
    ),
    "an operator of another domain": (
        {"nodes": [helper.make_node("FusedMatMul", ["x", "matrix"], ["y"], domain="com.microsoft")]},
        ["com.microsoft", "FusedMatMul"],
    ),
    "a recurrent layer": (
        {
            "nodes": [
                helper.make_node("LSTM", ["x", "matrix", "matrix"], ["y"], "memory", hidden_size=1)
            ]
        },
        ["LSTM memory"],
    ),
    "pixels": ({"nodes": [PRODUCT], "kind": TensorProto.UINT8}, ["uint8", "preprocessing"]),
    "several inputs": ({"nodes": [PRODUCT], "inputs": 2}, ["one input", "x, x1"]),
    "several outputs": (
        {"nodes": [PRODUCT, helper.make_node("Relu", ["y"], ["z"])], "outputs": ("y", "z")},
        ["one output", "y, z"],
    ),
    "a map for each example": (
        {"nodes": [helper.make_node("Relu", ["x"], ["y"])], "shape": ("batch", 4, 4)},
        ["(N, classes)"],
    ),
    "a value that is missing": (
        {"nodes": [helper.make_node("MatMul", ["nowhere", "matrix"], ["y"])]},
        ["no value 'nowhere' at MatMul"],
    ),
    "weights of another shape": (
        {"nodes": [PRODUCT], "shape": ("batch", 7)},
        ["MatMul", "espalier quantize"],
    ),
    "a constant beyond all memory": (
        {
            "nodes": [
                helper.make_node(
                    "Constant", [], ["huge"], value_ints=[2**20, 2**20]
                ),
                helper.make_node("ConstantOfShape", ["huge"], ["zeros"]),
                helper.make_node("MatMul", ["x", "zeros"], ["y"]),
            ]
        },
        ["ConstantOfShape", "1099511627776"],
    ),
    "sizes that the input decides": (
        {
            "nodes": [
                helper.make_node("NonZero", ["x"], ["where"]),
                helper.make_node("Reshape", ["matrix", "where"], ["y"]),
            ]
        },
        ["NonZero"],
    ),
    "the whole batch at once": (
        {"nodes": [helper.make_node("Softmax", ["x"], ["p"], axis=0),
                   helper.make_node("ReduceMean", ["p"], ["y"], axes=[0])]},
        ["(N, classes)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_is_refused_by_name(name, tmp_path):
    content, words = ODD[name]
    with pytest.raises(BadInput) as refusal:
        read_onnx(odd_file(tmp_path, **content))
    assert_explains(refusal.value, *words)


def test_no_onnx_file_is_refused(tmp_path):
    for content in (b"", b"no graph", b"\x80\x02cposix\nsystem\n(S'touch pwned'\ntR."):
        path = tmp_path / "net.onnx"
        path.write_bytes(content)
        with pytest.raises(BadInput) as refusal:
            read_onnx(path)
        assert_explains(refusal.value, "ONNX file")
    with pytest.raises(BadInput) as refusal:
        read_onnx(tmp_path / "absent.onnx")
    assert_explains(refusal.value, "absent.onnx")


def test_weights_outside_the_file_are_refused_unread(file, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(10**5))
    model = onnx.load(file)
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", "../secret"
    path = tmp_path / "outside.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput) as refusal:
        read_onnx(path)
    assert_explains(refusal.value, "external data", "onnx.save")


def test_an_integer_file_is_refused(file, tmp_path):
    path = tmp_path / "int8.onnx"
    quantize(file, path, torch.rand(32, 1, 8, 8).numpy())
    with pytest.raises(BadInput) as refusal:
        read_onnx(path)
    assert_explains(refusal.value, "floating point", "Linear")


def test_another_shape_than_that_of_the_data_is_refused_with_both(file):
    with pytest.raises(BadInput) as refusal:
        read_onnx(file, (3, 32, 32))
    assert_explains(refusal.value, "3x32x32", "1x8x8", "`input`")


def test_an_open_size_without_a_given_one_is_refused(tmp_path):
    path = tmp_path / "open.onnx"
    axes = {"input": {0: "batch", 2: "height", 3: "width"}}
    write_onnx(RESNET.build(), path, RESNET.shape, dynamic_axes=axes)
    with pytest.raises(BadInput) as refusal:
        read_onnx(path)
    assert_explains(refusal.value, "1x?x?", "--shape")


def test_another_meaning_than_that_of_the_runtime_is_refused_with_the_difference(file):
    program = read_onnx(file)
    network = program.build()
    with torch.no_grad():
        [*network.parameters()][-1].add_(0.5)
    with pytest.raises(BadInput) as refusal:
        check_agreement(network, program, file, torch.rand(4, 1, 8, 8))
    assert_explains(refusal.value, "0.0001", "difference of 0.")


class Hostile:
    """A pickle that leaves a file behind when it is read with its code."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_program_of_torch_export_is_refused_because_its_reader_runs_code(tmp_path):
    layer = torch.nn.Linear(3, 2)
    torch.export.save(torch.export.export(layer, (torch.rand(2, 3),)), tmp_path / "net.pt2")
    buffer = io.BytesIO()
    torch.save(((torch.rand(2, 3), Hostile(tmp_path / "ran")), {}), buffer)
    hostile = tmp_path / "hostile.pt2"
    with zipfile.ZipFile(tmp_path / "net.pt2") as sound, zipfile.ZipFile(hostile, "w") as copy:
        for entry in sound.infolist():
            replaced = "sample_inputs" in entry.filename
            copy.writestr(entry.filename, buffer.getvalue() if replaced else sound.read(entry))
    with pytest.raises(BadInput) as refusal:
        read_weights(hostile)
    assert_explains(refusal.value, "torch.export", "torch.onnx.export")
    assert not (tmp_path / "ran").exists()
    with contextlib.suppress(Exception):
        torch.export.load(hostile)
    assert (tmp_path / "ran").exists()  # the reason: when torch refuses it, this can be read


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], ["at least one step"]),
        ([{"operator": "system", "inputs": ["x0"], "outputs": ["x1"]}], ["'system'"]),
        ([{"operator": "Relu", "inputs": ["x7"], "outputs": ["x1"]}], ["'x7'"]),
        ([{"operator": "Relu", "inputs": ["x0"]}], ["outputs"]),
        ([{"operator": "RNN", "inputs": ["x0"], "outputs": ["x1"], "layer": "a"}], ["'RNN'"]),
    ],
)
def test_steps_that_no_file_has_are_refused(steps, words):
    with pytest.raises(BadInput) as refusal:
        build("espalier:onnx", classes=2, shape=(4,), arguments={"steps": steps})
    assert_explains(refusal.value, *words)
