"""Every scheme with every calibration: the answers stay, the source stays, and the same gives the same."""

import functools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from cases import QUANTIZATIONS
from onnx import TensorProto
from properties import assert_input_untouched

from espalier.export.onnx import export
from espalier.folding import fold_batch_norms
from espalier.inputs.image import Normalize
from espalier.models import build
from espalier.quantization import aware, export_integers, quantize, quantize_dynamically
from espalier.runtimes import DEFAULT

MEAN, STD = (0.2,), (0.4,)
PIXELS = torch.randint(
    0, 256, (32, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
IMAGES = (PIXELS.float() / 255 - MEAN[0]) / STD[0]


@pytest.fixture(scope="module", params=["lenet5", "resnet"])
def parent(request, tmp_path_factory):
    """A tiny network with and without convolutional shortcuts, and its deployed file."""
    torch.manual_seed(0)
    arguments = {"resnet": {"depth": 8, "width": 8}}.get(request.param, {})
    network = build(
        f"espalier:{request.param}", classes=10, shape=(1, 16, 16), arguments=arguments
    ).train()
    with torch.no_grad():
        for _ in range(20):
            network(IMAGES)
    path = tmp_path_factory.mktemp("parent") / "model.onnx"
    export(network.eval(), path, PIXELS, Normalize(MEAN, STD))
    return network, path


def quantized(parent, case, target):
    network, source = parent
    if case.scheme == "static":
        quantize(source, target, PIXELS.numpy(), **case.keys)
    elif case.scheme == "dynamic":
        quantize_dynamically(source, target, **case.keys)
    else:
        export_integers(
            aware(fold_batch_norms(network, IMAGES[:2]), IMAGES, **case.keys),
            target,
            PIXELS,
            Normalize(MEAN, STD),
        )
    return target


@functools.cache
def saturates() -> bool:
    """Whether this processor adds pairs of 8-bit products in 16 bits, as those without VNNI do.

    255 * 127 * 2 = 64,770 does not fit into 16 bits.
    """
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("MatMulInteger", ["a", "b"], ["y"])],
        "product",
        [onnx.helper.make_tensor_value_info("a", TensorProto.UINT8, [1, 64])],
        [onnx.helper.make_tensor_value_info("y", TensorProto.INT32, [1, 64])],
        [onnx.numpy_helper.from_array(np.full((64, 64), 127, np.int8), "b")],
    )
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (sums,) = session.run(None, {"a": np.full((1, 64), 255, np.uint8)})
    return bool((sums != 64 * 255 * 127).any())


@pytest.mark.parametrize("case", QUANTIZATIONS, ids=str)
def test_a_quantized_network_answers_as_its_parent_does(parent, case, tmp_path):
    network, source = parent
    before = source.read_bytes()
    with assert_input_untouched(network):
        path = quantized(parent, case, tmp_path / "model.onnx")
    assert source.read_bytes() == before
    onnx.checker.check_model(onnx.load(path))
    exact, runtime = DEFAULT.open(source).outputs(PIXELS.numpy()), DEFAULT.open(path)
    logits = runtime.outputs(PIXELS.numpy())
    assert not np.array_equal(exact, logits)
    if case.keys.get("reduce_range", True) or not saturates():
        # measured over images, because entropy clips the tails of these few random ones
        assert np.corrcoef(exact.ravel(), logits.ravel())[0, 1] > 0.98
    if case.scheme != "dynamic":  # whose ranges are those of the batch
        np.testing.assert_allclose(runtime.outputs(PIXELS.numpy(), 5), logits, rtol=0, atol=1e-5)
    assert quantized(parent, case, tmp_path / "again.onnx").read_bytes() == path.read_bytes()
