"""Peak memory: of one file in a process of its own."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from espalier.errors import EspalierError
from espalier.runtimes import DEFAULT

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells the peak of a process"
)
MEBI = 2**20
IMAGE = np.zeros((1, 8, 8), np.uint8)


def model(path, weights_mebi: int, widening: int = 1):
    """A file that holds so many MiB of weights, and whose activations are `widening` floats per pixel."""
    weights = np.ones((64, weights_mebi * MEBI // 4 // 64), np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Tile", ["float", "times"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["rectified"]),
        helper.make_node("ReduceMax", ["rectified"], ["largest"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("ReduceMax", ["weights"], ["heaviest"], keepdims=0),
        helper.make_node("Identity", ["weights"], ["kept"]),
        helper.make_node("Add", ["largest", "heaviest"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 1, 8, 8])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("kept", TensorProto.FLOAT, weights.shape),
        ],
        [
            numpy_helper.from_array(weights, "weights"),
            numpy_helper.from_array(np.array([1, widening, 1, 1]), "times"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path
    )
    return path


def test_weights_and_activations_are_seen_and_what_is_open_here_is_not(tmp_path):
    held = np.ones(64 * MEBI, np.uint8)  # of this process
    small, heavy = model(tmp_path / "small.onnx", 1), model(tmp_path / "heavy.onnx", 33)
    wide = model(tmp_path / "wide.onnx", 1, widening=2048)  # 0.5 MiB for an image, 32 for 64
    peaks = DEFAULT.peak_memory([small, heavy, wide, small], IMAGE, (1, 64), threads=1)
    assert peaks.shape == (4, 2)
    assert (peaks[:, 1] >= peaks[:, 0]).all()
    assert peaks[0].max() < 48 * MEBI < held.nbytes
    assert peaks[1, 0] - peaks[0, 0] > 30 * MEBI
    assert peaks[2, 1] - peaks[2, 0] > 30 * MEBI
    assert peaks[2, 0] - peaks[0, 0] < 8 * MEBI
    np.testing.assert_allclose(
        peaks[3], peaks[0], atol=2 * MEBI
    )  # the one before leaves nothing behind


def test_a_file_that_does_not_run_is_reported(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(
        EspalierError,
        match=r"Expected the deployed files to run in a separate process; found [\s\S]*broken",
    ):
        DEFAULT.peak_memory([tmp_path / "broken.onnx"], IMAGE, (1,), threads=1)
