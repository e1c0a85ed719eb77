"""Each operator of an ONNX file computes in torch what ONNX Runtime computes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from espalier.export.agreement import check_agreement
from espalier.models.onnx_graph import OPERATORS
from espalier.models.onnx_import import read_onnx
from espalier.models.onnx_import.layers import LAYERS

SHAPE = (4, 6, 6)
NUMBERS = np.random.default_rng(0)


@dataclass(frozen=True)
class Case:
    """One operator between the input (N, 4, 6, 6) and a head.

    Attributes:
        operator: name of the operator.
        attributes: its attributes.
        constants: operands after the first; a string is the input again.
        before: operator that is applied to the input first, where the domain is limited.
        opset: version of the operators.
        outputs: number of outputs, which are joined again along dimension 1.
        shape: shape of the input.
    """

    operator: str
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: tuple[Any, ...] = ()
    before: str = ""
    opset: int = 17
    outputs: int = 1
    shape: tuple[int, ...] = SHAPE

    def __str__(self) -> str:
        return f"{self.operator}-{self.opset}"


def values(*shape):
    return NUMBERS.normal(size=shape).astype(np.float32)


def whole(*numbers):
    return np.array(numbers, np.int64)


def scalar(number):
    return np.array(number, np.float32)


PER_CHANNEL = values(4)
POOL = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
CASES = (
    *(Case(name) for name in ("Abs", "Erf", "Exp", "Floor", "HardSwish", "Identity", "Neg", "Relu")),
    *(Case(name) for name in ("Selu", "Sigmoid", "Softplus", "Softsign", "Tanh")),
    Case("Mish", opset=18),
    *(Case(name, before="Exp") for name in ("Log", "Sqrt", "Reciprocal")),
    Case("Celu", {"alpha": 0.7}),
    Case("Elu", {"alpha": 0.7}),
    Case("LeakyRelu", {"alpha": 0.3}),
    Case("HardSigmoid"),
    Case("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    Case("Gelu", {"approximate": "tanh"}, opset=20),
    Case("Gelu", opset=20),
    Case("Clip", constants=(scalar(0), scalar(6))),
    Case("Clip", {"min": -0.5, "max": 0.5}, opset=9),
    Case("Dropout"),
    Case("Add", constants=(values(4, 1, 1),)),
    Case("Add", constants=("",)),
    Case("Sub", constants=(scalar(2),)),
    Case("Mul", constants=(values(4, 1, 1),)),
    Case("Div", constants=(values(4, 6, 6) + 9,)),
    Case("Pow", constants=(scalar(2),)),
    Case("Max", constants=("", scalar(0.2))),
    Case("Min", constants=(values(4, 1, 1),)),
    Case("Mean", constants=("", values(4, 6, 6))),
    Case("Sum", constants=("", values(4, 6, 6))),
    Case("InstanceNormalization", {"epsilon": 1e-3}, (PER_CHANNEL, values(4))),
    Case("Softmax", {"axis": 1}),
    Case("LogSoftmax"),
    Case("Softmax", opset=11, shape=(5,)),
    Case("ReduceMean", {"axes": [2, 3]}),
    Case("ReduceMean", constants=(whole(2, 3),), opset=18),
    Case("ReduceSum", {"keepdims": 1}, (whole(-1),)),
    Case("ReduceMax", {"axes": [1], "keepdims": 0}),
    Case("ReduceMin", {"axes": [1]}),
    Case("ReduceL2", {"axes": [1]}),
    Case("MaxPool", POOL),
    Case("MaxPool", {**POOL, "pads": [0, 0, 1, 1]}),
    Case("MaxPool", {"kernel_shape": [2, 2], "auto_pad": "SAME_UPPER"}),
    Case("AveragePool", POOL),
    Case("AveragePool", {**POOL, "pads": [0, 0, 1, 1]}),
    Case("AveragePool", {**POOL, "count_include_pad": 1}),
    Case("AveragePool", {**POOL, "pads": [0, 0, 1, 1], "count_include_pad": 1}),
    Case("GlobalAveragePool"),
    Case("GlobalMaxPool"),
    Case("Resize", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
         (None, np.array([1, 1, 2, 2], np.float32))),
    Case("Resize", {"mode": "linear"}, (None, np.array([1, 1, 2, 2], np.float32))),
    Case("Resize", {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
         (None, np.array([1, 1, 2, 2], np.float32))),
    Case("Einsum", {"equation": "nchw,nkhw->nck"}, ("",)),
    Case("MatMul", constants=("",)),
    Case("MatMul", constants=(values(4, 6, 5),)),
    Case("MatMul", constants=(values(6, 5),)),
    Case("Concat", {"axis": 1}, ("",)),
    Case("DepthToSpace", {"blocksize": 2}),
    Case("DepthToSpace", {"blocksize": 2, "mode": "CRD"}),
    Case("SpaceToDepth", {"blocksize": 2}),
    Case("Expand", constants=(whole(1, 1, 5, 1),), shape=(4, 1, 6)),
    Case("Flatten"),
    Case("Gather", {"axis": 1}, (np.array(-1, np.int64),)),
    Case("Gather", {"axis": 2}, (whole(3, 0),)),
    Case("Pad", constants=(whole(0, 0, 1, 0, 0, 0, 0, 2), scalar(3))),
    Case("Pad", {"mode": "reflect"}, (whole(0, 0, 1, 1, 0, 0, 1, 2),)),
    Case("Reshape", constants=(whole(0, 2, 2, -1),)),
    Case("Slice", constants=(whole(1, 0), whole(2**62, -1), whole(1, 3), whole(1, 2))),
    Case("Slice", {"starts": [1], "ends": [3], "axes": [1]}, opset=9),
    Case("Split", {"axis": 1}, (whole(1, 3),), outputs=2),
    Case("Split", {"axis": 1}, outputs=2),
    Case("Split", {"axis": 1, "split": [3, 1]}, opset=11, outputs=2),
    Case("Squeeze", constants=(whole(1),), shape=(1, 6)),
    Case("Squeeze", {"axes": [1]}, opset=11, shape=(1, 6)),
    Case("Tile", constants=(whole(1, 2, 1, 1),)),
    Case("Transpose", {"perm": [0, 2, 1, 3]}),
    Case("Unsqueeze", constants=(whole(1, -1),)),
    # with weights
    Case("BatchNormalization", {"epsilon": 1e-3},
         (PER_CHANNEL, values(4), values(4), np.abs(values(4)) + 0.5)),
    Case("Conv", {"pads": [1, 1, 1, 1]}, (values(5, 4, 3, 3), values(5))),
    Case("Conv", {"pads": [0, 1, 2, 1], "strides": [2, 1], "group": 2}, (values(6, 2, 3, 3),)),
    Case("Conv", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, (values(5, 4, 3, 3),)),
    Case("Conv", {"auto_pad": "SAME_LOWER"}, (values(5, 4, 2, 2),)),
    Case("Conv", {"pads": [1, 1]}, (values(5, 4, 3),), shape=(4, 9)),
    Case("Gemm", {"transB": 1, "alpha": 0.5, "beta": 2.0}, (values(7, 5), values(7)), shape=(5,)),
    Case("Gemm", {}, (values(5, 7), scalar(3)), shape=(5,)),
    Case("GroupNormalization", {"num_groups": 2}, (PER_CHANNEL, values(4)), opset=21),
    Case("LayerNormalization", {"axis": -2, "epsilon": 1e-3}, (values(6, 6), values(6, 6))),
    Case("PRelu", constants=(values(4, 1, 1),)),
)  # fmt: skip
_ELSEWHERE = {
    "Where", "Equal", "Greater", "Less",  # a test of their own: truth values
    "RepeatBatch",  # of no file: test_onnx_reading.py
}  # fmt: skip


def file_of(case, path):
    """A file with the operator, a pooled head and one output (N, 3)."""
    nodes, initializers, inputs = [], [], ["input"]
    if case.before:
        nodes.append(helper.make_node(case.before, ["input"], ["positive"]))
        inputs = ["positive"]
    for number, constant in enumerate(case.constants):
        if isinstance(constant, np.ndarray):
            initializers.append(numpy_helper.from_array(constant, f"constant{number}"))
            inputs.append(f"constant{number}")
        else:
            inputs.append("" if constant is None else inputs[0])
    outputs = [f"out{number}" for number in range(case.outputs)]
    attributes = {"num_outputs": 2} if case.operator == "Split" and case.opset > 17 else {}
    nodes.append(helper.make_node(case.operator, inputs, outputs, **case.attributes, **attributes))
    return write(nodes, initializers, outputs, path, case.shape, case.opset)


def write(nodes, initializers, outputs, path, shape, opset=17):
    """A file whose results are joined, flattened, and brought to a known width by their mean."""
    if len(outputs) > 1:
        nodes.append(helper.make_node("Concat", outputs, ["joined"], axis=1))
        outputs = ["joined"]
    nodes.append(helper.make_node("Flatten", outputs, ["flat"], axis=1))
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("flat", TensorProto.FLOAT, ["batch", None])],
        initializers,
    )
    opsets = [helper.make_opsetid("", opset)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def assert_agrees(path, shape):
    program = read_onnx(path)
    inputs = torch.randn(5, *shape, generator=torch.Generator().manual_seed(1))
    check_agreement(program.build(), program, path, inputs)
    return program


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_computes_what_onnx_runtime_computes(case, tmp_path):
    program = assert_agrees(file_of(case, tmp_path / "one.onnx"), case.shape)
    names = {step["operator"] for step in program.arguments["steps"]}
    kept = case.operator in (*LAYERS, "Dropout", "Identity") or case.operator in names
    assert kept


def test_truth_values_choose_between_values(tmp_path):
    for comparison in ("Greater", "Less", "Equal"):
        nodes = [
            helper.make_node(comparison, ["input", "zero"], ["mask"]),
            helper.make_node("Where", ["mask", "input", "other"], ["out"]),
        ]
        initializers = [
            numpy_helper.from_array(scalar(0.3), "zero"),
            numpy_helper.from_array(values(6), "other"),
        ]
        path = write(nodes, initializers, ["out"], tmp_path / f"{comparison}.onnx", (4, 6))
        assert_agrees(path, (4, 6))


def test_every_operator_has_a_case():
    assert {case.operator for case in CASES} | _ELSEWHERE == {*OPERATORS, *LAYERS}
