import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from espalier.export.denormals import flush_denormals
from espalier.export.exported import Exported
from espalier.export.onnx import export
from espalier.folding import fold_batch_norms
from espalier.inputs.image import Normalize
from espalier.models.structure import Masked, record

TINY = np.finfo(np.float32).tiny


def constants(path):
    model = onnx.load(path)
    held = [node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"]
    return [numpy_helper.to_array(tensor) for tensor in (*model.graph.initializer, *held)]


def denormals(path):
    """How many there are, by their bits: a thread of the runtime's takes them for zeros."""
    found = [
        values.view(np.uint32) & 0x7FFFFFFF
        for values in constants(path)
        if values.dtype == np.float32
    ]
    return sum(int(((bits > 0) & (bits < 0x00800000)).sum()) for bits in found)


def faded():
    """A convolution and its norm: weights masked, denormal, and such as only the norm makes denormal."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)
    )
    with torch.no_grad():
        network[0].weight[0, 0, :2] = 0
        network[0].weight[1] = 1e-41
        network[0].weight[2] = 3e-38
        network[1].weight[2] = 1e-3
        network[4].weight[:, 7] *= 1e-40
    record(network, Masked(("0.weight",)))
    return network.eval()


def images():
    return torch.randint(
        0, 256, (8, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def test_a_deployed_file_has_no_denormals_after_masks_and_folding(tmp_path):
    network = faded()
    for name, one in (
        ("whole", network),
        ("folded", fold_batch_norms(network, torch.zeros(2, 1, 8, 8))),
    ):
        difference = export(one, tmp_path / f"{name}.onnx", images(), Normalize((0.5,), (0.5,)))
        assert difference < 1e-6
        assert denormals(tmp_path / f"{name}.onnx") == 0
        assert sum(values.size for values in constants(tmp_path / f"{name}.onnx")) > 1400


def test_only_denormals_and_negative_zeros_are_changed():
    # by their bits, as above: zero, the smallest normals, two denormals, minus zero, one, infinity
    values = np.array(
        [0, 0x800000, 0x80800000, 0x400000, 0x80000100, 0x80000000, 0x3F800000, 0x7F800000],
        np.uint32,
    )
    cleared = values.copy()
    cleared[3:6] = 0
    small, whole = np.array([1, 0x3C00], np.uint16), np.arange(3)
    tensors = [
        numpy_helper.from_array(array, name)
        for array, name in (
            (values.view(np.float32), "x"),
            (small.view(np.float16), "y"),
            (whole, "n"),
        )
    ]
    held = onnx.helper.make_node("Constant", [], ["c"], value=tensors[0])
    model = onnx.helper.make_model(onnx.helper.make_graph([held], "g", [], [], tensors))
    exported = Exported(model, [tensor.raw_data for tensor in tensors])
    flush_denormals(exported)
    x, y, n = exported.weights
    assert x == cleared.tobytes()
    assert y == np.array([0, 0x3C00], np.uint16).tobytes()
    assert n == whole.tobytes()
    assert numpy_helper.to_array(model.graph.node[0].attribute[0].t).tobytes() == cleared.tobytes()
