"""Exported networks with their weights apart."""

import warnings

import onnx
import torch
from torch import nn

from espalier.export.exported import Exported


def network():
    """Layers whose norm is folded, with tensors of lengths that take one to four bytes in the file."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 300, 3), nn.BatchNorm2d(300), nn.Flatten(), nn.Linear(10_800, 2), nn.Softplus()
    ).eval()


OPTIONS = {
    "input_names": ["image"],
    "dynamic_axes": {"image": {0: "batch"}},
    "opset_version": 17,
    "dynamo": False,
}


def test_the_file_is_that_of_torch_and_onnx_byte_for_byte(tmp_path):
    images = (torch.zeros(2, 1, 8, 8),)
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(network(), images, str(tmp_path / "torch.onnx"), **OPTIONS)
        exporter = torch._C.Graph._export_onnx
        exported = Exported.of(network(), images, **OPTIONS)
    assert torch._C.Graph._export_onnx is exporter  # torch's own again
    exported.save(tmp_path / "ours.onnx")
    onnx.save(onnx.load(tmp_path / "torch.onnx"), tmp_path / "onnx.onnx")
    content = (tmp_path / "ours.onnx").read_bytes()
    assert content == (tmp_path / "onnx.onnx").read_bytes()
    assert sum(map(len, exported.weights)) > 0.99 * len(content)
    assert len(exported.model.SerializeToString()) < 0.01 * len(content)  # no weight is in it
