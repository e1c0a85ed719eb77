"""The estimates of energy beside the figures that were recorded."""

import json
import math

import pytest
import torch

from espalier import files
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.measures.energy import energy
from espalier.models import build, save
from espalier.params import check
from espalier.quantization import quantize, quantize_dynamically
from espalier.report.costs import recorded_facts

PIXELS = torch.randint(
    0, 256, (8, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
FIGURES = {"macs": 1e6, "bytes": 1e4}


def quantized(source, target, scheme):
    if scheme == "static":
        quantize(source, target, PIXELS.numpy())
    else:
        quantize_dynamically(source, target)


@pytest.mark.parametrize(
    ("factory", "scheme", "integers"),
    [
        ("lenet5", None, False),
        ("lenet5", "static", True),
        ("lenet5", "dynamic", None),  # convolutions stay in floating point
        ("mlp", "dynamic", True),
    ],
)
def test_energy_is_estimated_by_what_the_file_computes(factory, scheme, integers, tmp_path):
    folder = tmp_path / "models" / "teacher"
    network = build(f"espalier:{factory}", classes=10, shape=(1, 16, 16)).eval()
    save(network, folder)
    files.write_json(folder / "metrics.json", FIGURES)
    export(network, folder / "model.onnx", PIXELS, Normalize((0.3,), (0.4,)))
    if scheme:
        quantized(folder / "model.onnx", folder / "model.onnx", scheme)
        architecture = json.loads((folder / "architecture.json").read_text())
        architecture["quantization"] = {"scheme": scheme}
        files.write_json(folder / "architecture.json", architecture)
    params = check({"teacher": {"model": f"espalier:{factory}", "epochs": 1}, "models": {}})
    found = recorded_facts(tmp_path, params).loc["teacher", "energy_uj"]
    expected = math.nan if integers is None else energy(10**6, 10**4, integers=integers)
    assert found == pytest.approx(expected, nan_ok=True)
