"""Biases as floats: only where ONNX Runtime makes the same integers of them, and computes in integers as before."""

from collections import Counter

import numpy as np
import onnx
import pytest
from kernels import kernels
from onnx import TensorProto, helper, numpy_helper

from espalier.quantization import compact
from espalier.runtimes import DEFAULT

RNG = np.random.default_rng(0)
WEIGHTS = RNG.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
BIASES = np.int32([3, -70000, 2**20 + 1, 0])
SCALES = np.float32([0.011, 0.02, 0.0007, 0.3])
OF_INPUTS = np.float32(0.03)


def layer(
    biases=BIASES, bias_scales=OF_INPUTS * SCALES, relu=False, quantized=True, twice=False
) -> onnx.ModelProto:
    """A convolution of 8-bit integers, as a tool writes it."""
    constants = {
        "w": WEIGHTS,
        "w_scale": SCALES,
        "w_zero": np.zeros(4, np.int8),
        "b": biases,
        "b_scale": bias_scales.astype(np.float32),
        "x_scale": OF_INPUTS,
        "y_scale": np.float32(0.5),
        "zero": np.uint8(0),
    }

    def quantizer(kind: str, *names: str, **axis: int) -> onnx.NodeProto:
        *inputs, output = names
        return helper.make_node(f"{kind}Linear", inputs, [output], **axis)

    nodes = [
        quantizer("Quantize", "x", "x_scale", "zero", "x_integers"),
        quantizer("Dequantize", "x_integers", "x_scale", "zero", "x_back"),
        quantizer("Dequantize", "w", "w_scale", "w_zero", "w_back", axis=0),
        quantizer("Dequantize", "b", "b_scale", "b_back", axis=0),
        helper.make_node("Conv", ["x_back", "w_back", "b_back"], ["c"], kernel_shape=[3, 3]),
    ]
    last = "c"
    if relu:
        nodes.append(helper.make_node("Relu", ["c"], ["r"]))
        last = "r"
    if quantized:
        nodes.append(quantizer("Quantize", last, "y_scale", "zero", "y_integers"))
        nodes.append(quantizer("Dequantize", "y_integers", "y_scale", "zero", "y"))
    else:
        nodes.append(helper.make_node("Neg", [last], ["y"]))
    outputs = ["y"]
    if twice:
        nodes.append(helper.make_node("Neg", ["c"], ["other"]))
        outputs.append("other")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 5, 5])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    values = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "layer", inputs, ends, values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def has_integer_biases(model: onnx.ModelProto) -> bool:
    return any(one.data_type == TensorProto.INT32 for one in model.graph.initializer)


def outputs_and_kernels(model: onnx.ModelProto, folder) -> tuple[np.ndarray, Counter[str]]:
    images = np.random.default_rng(1).uniform(0, 8, (1, 3, 5, 5)).astype(np.float32)
    outputs = DEFAULT.open(model.SerializeToString()).run(images)
    return outputs, kernels(model, folder / "optimized.onnx")


@pytest.mark.parametrize("relu", [False, True])
def test_a_float_of_the_same_value_takes_the_place_of_integers(relu, tmp_path):
    short = compact(layer(relu=relu))
    assert not has_integer_biases(short)
    (ours, kernels), (theirs, before) = (
        outputs_and_kernels(one, tmp_path) for one in (short, layer(relu=relu))
    )
    np.testing.assert_array_equal(ours, theirs)
    assert kernels == before
    assert "QLinearConv" in kernels


@pytest.mark.parametrize(
    "other",
    [
        {"quantized": False},  # the runtime computes the layer in floats
        {"twice": True},
        {"bias_scales": 1.1 * OF_INPUTS * SCALES},  # other integers would follow
        {"biases": np.int32([3, 2**30 + 1, 0, 0])},  # more digits than a float has
    ],
)
def test_integers_stay_where_the_runtime_would_not_make_them(other, tmp_path):
    short = compact(layer(**other))
    assert has_integer_biases(short)
    ours, theirs = (outputs_and_kernels(one, tmp_path) for one in (short, layer(**other)))
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1] == theirs[1]
