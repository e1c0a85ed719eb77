"""The short form of a file of integers: the same bits by the same kernels, in fewer bytes."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from kernels import kernels
from onnx import TensorProto, helper, numpy_helper

from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.quantization import compact, quantize, quantize_dynamically
from espalier.runtimes import DEFAULT

QUANTIZERS = ("DequantizeLinear", "QuantizeLinear")
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8), dtype=np.uint8)
NETWORKS = {
    "resnet": ("espalier:resnet", {"depth": 8, "width": 8}),
    "mobilenet": ("espalier:mobilenet", {"multiplier": 0.25}),
    "mlp": ("espalier:mlp", {"hidden": [16, 16]}),
}


@pytest.fixture(scope="module", params=NETWORKS)
def source(request, tmp_path_factory):
    """A deployed file with new weights."""
    torch.manual_seed(0)
    model, arguments = NETWORKS[request.param]
    network = build(model, classes=10, shape=(1, 8, 8), arguments=arguments).eval()
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    export(network, path, torch.from_numpy(IMAGES), Normalize([0.5], [0.25]))
    return path


def dynamically(source, target, _) -> None:
    quantize_dynamically(source, target)


@pytest.fixture(params=[quantize, dynamically], ids=["static", "dynamic"])
def quantized(request, source, tmp_path):
    request.param(source, tmp_path / "int8.onnx", IMAGES)
    return onnx.load(tmp_path / "int8.onnx")


def test_bits_and_kernels_are_the_same_in_fewer_bytes(quantized, tmp_path):
    whole = onnx.ModelProto()
    whole.CopyFrom(quantized)
    short = compact(quantized)
    onnx.checker.check_model(short, full_check=True)
    ours, theirs = (DEFAULT.open(one.SerializeToString()).outputs(IMAGES) for one in (short, whole))
    np.testing.assert_array_equal(ours, theirs)
    assert kernels(short, tmp_path / "short.onnx") == kernels(whole, tmp_path / "whole.onnx")
    stored = sum(numpy_helper.to_array(one).nbytes for one in short.graph.initializer)
    assert short.ByteSize() - stored < 0.5 * (whole.ByteSize() - stored)


def test_it_is_the_same_when_it_is_compacted_again(quantized):
    once = compact(quantized).SerializeToString()
    assert compact(quantized).SerializeToString() == once


def test_ends_and_layers_keep_their_names(quantized):
    before = onnx.ModelProto()
    before.CopyFrom(quantized)
    after = compact(quantized)
    assert list(after.graph.input) == list(before.graph.input)
    assert list(after.graph.output) == list(before.graph.output)

    def layers(model: onnx.ModelProto) -> list[str]:
        return [one.name for one in model.graph.node if one.op_type not in QUANTIZERS]

    assert layers(after) == layers(before)


def test_notes_of_others_stay_and_those_of_tools_for_each_other_go(quantized):
    helper.set_model_props(quantized, {"onnx.infer": "onnxruntime.quant", "names": "cat, dog"})
    short = compact(quantized)
    assert {one.key: one.value for one in short.metadata_props} == {"names": "cat, dog"}
    assert {one.domain for one in short.opset_import} <= {"", "ai.onnx", "com.microsoft"}


def test_a_convolution_says_only_what_differs_from_the_standard():
    def attributes(**said) -> set[str]:
        node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[3, 3], **said)
        ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy"]
        weight = numpy_helper.from_array(np.zeros((2, 1, 3, 3), np.float32), "w")
        model = helper.make_model(helper.make_graph([node], "one", ends[:1], ends[1:], [weight]))
        return {one.name for one in compact(model).graph.node[0].attribute}

    standard = {"dilations": [1, 1], "group": 1, "pads": [0, 0, 0, 0], "strides": [1, 1]}
    assert attributes(**standard) == {"kernel_shape"}
    other = {"dilations": [1, 2], "group": 2, "pads": [0, 1, 0, 0], "strides": [2, 1]}
    assert attributes(**other, auto_pad="NOTSET") == {"kernel_shape", "auto_pad", *other}


def branching() -> onnx.ModelProto:
    """A graph whose branches read a tensor and a constant from outside, and whose input `gain` has a default."""
    names = {
        name: numpy_helper.from_array(np.float32([2.0]), name) for name in ("two", "2", "gain")
    }

    def branch(name: str, read: str) -> onnx.GraphProto:
        node = helper.make_node("Mul", ["inner", read], [name])
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1])
        return helper.make_graph([node], name, [], [value])

    nodes = [
        helper.make_node("Add", ["x", "two"], ["inner"]),
        helper.make_node("Add", ["inner", "2"], ["outer"]),
        helper.make_node(
            "If", ["flag"], ["either"], then_branch=branch("a", "two"), else_branch=branch("b", "x")
        ),
        helper.make_node("Mul", ["either", "outer"], ["product"]),
        helper.make_node("Mul", ["product", "gain"], ["y"]),
    ]
    floats = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "gain", "y")
    ]
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    graph = helper.make_graph(
        nodes, "branching", [*floats[:2], flag], [floats[2]], list(names.values())
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("flag", [True, False])
def test_branches_find_what_they_read_and_defaults_can_be_replaced(flag):
    feeds = {"x": np.float32([3.0]), "flag": np.array(flag), "gain": np.float32([5.0])}
    found = []
    for model in (branching(), compact(branching())):
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        found.append(session.run(None, feeds)[0])
    assert found[0] == found[1] == 5 * (5 + 2) * 5 * (2 if flag else 3)


def test_equal_constants_are_kept_once_and_others_apart():
    values = [
        np.zeros(2, np.int8),
        np.zeros(2, np.int8),
        np.zeros(2, np.uint8),
        np.zeros(1, np.int8),
    ]
    constants = [numpy_helper.from_array(value, f"zero{i}") for i, value in enumerate(values)]
    nodes = [
        helper.make_node("Cast", [one.name], [f"y{i}"], to=TensorProto.FLOAT)
        for i, one in enumerate(constants)
    ]
    ends = [
        helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, list(value.shape))
        for i, value in enumerate(values)
    ]
    graph = helper.make_graph(nodes, "constants", [], ends, constants)
    short = compact(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]))
    onnx.checker.check_model(short, full_check=True)
    assert len(short.graph.initializer) == 3
    read = [node.input[0] for node in short.graph.node]
    assert read[0] == read[1]
    assert len(set(read)) == 3
