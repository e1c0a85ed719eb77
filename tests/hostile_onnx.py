"""ONNX files that ask for memory or time without end, for an input `images` (N, 1, 8, 8) uint8."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HUGE = 2**33  # elements
_SHAPE = ["batch", 1, 8, 8]


def constant(name: str, value: object, kind: type = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, kind), name)


def model(nodes: list, constants: list, last: str = "last") -> onnx.ModelProto:
    """A file whose output is (N, 10): the sum of a value, so that it is computed, beside ten zeros."""
    ends = [
        helper.make_node("ReduceSum", [last], ["sum"], keepdims=0),
        helper.make_node("Flatten", ["images"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["floats", "zero", "ten", "one"], ["some"]),
        helper.make_node("Cast", ["sum"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["some", "number"], ["logits"]),
    ]
    constants = [*constants, constant("zero", [0]), constant("ten", [10]), constant("one", [1])]
    graph = helper.make_graph(
        [*nodes, *ends],
        "hostile",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, _SHAPE)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def constant_of_shape() -> onnx.ModelProto:
    value = helper.make_tensor("value", TensorProto.FLOAT, [1], [1.0])
    node = helper.make_node("ConstantOfShape", ["shape"], ["last"], value=value)
    return model([node], [constant("shape", [HUGE])])


def expand() -> onnx.ModelProto:
    node = helper.make_node("Expand", ["x", "shape"], ["last"])
    return model([node], [constant("x", [1.0], np.float32), constant("shape", [HUGE])])


def tile_of_the_input() -> onnx.ModelProto:
    cast = helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT)
    node = helper.make_node("Tile", ["x", "repeats"], ["last"])
    return model([cast, node], [constant("repeats", [1, 1, 2**12, 2**12])])


def range_() -> onnx.ModelProto:
    node = helper.make_node("Range", ["from", "to", "by"], ["last"])
    return model([node], [constant("from", 0), constant("to", HUGE), constant("by", 1)])


def doubling() -> onnx.ModelProto:
    """A value that is joined to itself forty times."""
    cast = helper.make_node("Cast", ["images"], ["x0"], to=TensorProto.FLOAT)
    nodes = [
        helper.make_node(
            "Concat", [f"x{step}"] * 2, [f"x{step + 1}" if step < 39 else "last"], axis=0
        )
        for step in range(40)
    ]
    return model([cast, *nodes], [])


def resize() -> onnx.ModelProto:
    cast = helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT)
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["last"], mode="nearest")
    return model([cast, node], [constant("sizes", [1, 1, 2**16, 2**16])])


def endless_loop() -> onnx.ModelProto:
    true = constant("true", True, bool)
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["state", "state"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.INT64, []),
        ],
    )
    node = helper.make_node("Loop", ["", "true", "start"], ["last"], body=body)
    return model([node], [true, constant("start", 1)])


def outside_data() -> onnx.ModelProto:
    built = model(
        [helper.make_node("Identity", ["x"], ["last"])], [constant("x", [1.0], np.float32)]
    )
    tensor = built.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    place = tensor.external_data.add()
    place.key, place.value = "location", "../../../../../../etc/passwd"
    return built


def unknown_library() -> onnx.ModelProto:
    built = model([helper.make_node("Evil", ["images"], ["last"], domain="evil.library")], [])
    built.opset_import.append(helper.make_opsetid("evil.library", 1))
    return built


FILES: dict[str, Callable[[], onnx.ModelProto]] = {
    "constant of shape": constant_of_shape,
    "expand": expand,
    "tile": tile_of_the_input,
    "range": range_,
    "doubling": doubling,
    "resize": resize,
    "endless loop": endless_loop,
    "outside data": outside_data,
    "unknown library": unknown_library,
}


def slow() -> onnx.ModelProto:
    """Products of matrices for minutes, in little memory."""
    size = 1500
    start = helper.make_node("ConstantOfShape", ["shape"], ["x0"])
    seed = helper.make_node("ReduceSum", ["images8"], ["seed"], keepdims=0)
    cast = helper.make_node("Cast", ["images"], ["images8"], to=TensorProto.FLOAT)
    first = helper.make_node("Add", ["x0", "seed"], ["y0"])
    nodes = [
        helper.make_node("MatMul", [f"y{step}", "y0"], [f"y{step + 1}" if step < 999 else "last"])
        for step in range(1000)
    ]
    return model([start, cast, seed, first, *nodes], [constant("shape", [size, size])])


def write(built: onnx.ModelProto, path: Path) -> Path:
    path.write_bytes(built.SerializeToString())
    return path
