"""The library needs no orchestrator and no registry: it works where neither Prefect, MLflow nor DVC is installed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

BLOCK = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("prefect", "mlflow", "dvc"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Absent())
"""
AFTER = """
loaded = {name.partition(".")[0] for name in sys.modules} & {"prefect", "mlflow", "dvc"}
assert not loaded, loaded
"""
COMMANDS = """
from espalier.cli import main

for words in {commands}:
    print("$", *words, flush=True)
    try:
        main(words)
    except SystemExit as ended:
        assert not ended.code, (words, ended.code)
"""
LIBRARY = """
import tempfile, torch
from espalier.distillation import losses
from espalier.export.onnx import export
from espalier.measures.macs import count_macs
from espalier.models import build, load, save
from espalier.pruning import prune
from espalier.quantization import quantize

torch.set_num_threads(1)
network = build("espalier:resnet", classes=10, shape=(1, 8, 8), arguments={"depth": 8, "width": 8})
smaller = prune(network, torch.zeros(2, 1, 8, 8), keep_macs=0.5, align=1)
example = torch.zeros(1, 1, 8, 8)
assert count_macs(smaller, example) <= 0.5 * count_macs(network, example)
with tempfile.TemporaryDirectory() as folder:
    save(smaller, folder)
    assert torch.equal(load(folder)(torch.ones(2, 1, 8, 8)), smaller(torch.ones(2, 1, 8, 8)))
"""
PARAMS = """
training: {batch_size: 64, threads: 1, epochs: 1}
teacher: {model: "espalier:resnet", arguments: {depth: 8, width: 8}, epochs: 2}
models:
  student: {from: teacher, by: distill, model: "espalier:resnet", arguments: {depth: 8, width: 4}, epochs: 4}
  pruned: {from: student, by: prune, score: taylor, keep_macs: 0.6, align: 1, finetune: {epochs: 1}}
  int8: {from: pruned, by: quantize, images: 64}
evaluation: {rounds: 3}
"""
STAGES = [
    ["prepare"],
    *(["make", name] for name in ("teacher", "student", "pruned", "int8")),
    ["evaluate"],
    ["show"],
]


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", ["prefect", "mlflow", "dvc"])
def test_the_block_blocks(tmp_path, name):
    ended = python(BLOCK + f"import {name}", tmp_path)
    assert f"ImportError: {name} is not installed here" in ended.stderr


def test_the_library_prunes_saves_and_loads_by_itself(tmp_path):
    ended = python(BLOCK + LIBRARY + AFTER, tmp_path)
    assert ended.returncode == 0, ended.stderr


def test_every_stage_but_the_registry_works_by_itself(tmp_path, digits):
    """From data to reports: prepare, train, distil, prune, quantize, evaluate."""
    (tmp_path / "params.yaml").write_text(PARAMS)
    shutil.copytree(digits.parent / "data", tmp_path / "data")
    ended = python(BLOCK + COMMANDS.format(commands=STAGES) + AFTER, tmp_path)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    table = pd.read_csv(tmp_path / "reports" / "models.csv", index_col="model")
    assert list(table.index) == ["teacher", "student", "pruned", "int8"]
    assert table["accuracy"].min() > 0.3  # a tenth by chance
    assert table["macs"]["pruned"] <= 0.6 * table["macs"]["student"]
    assert table["macs"]["int8"] == table["macs"]["pruned"]
    lineage = json.loads((tmp_path / "models" / "int8" / "lineage.json").read_text())
    assert lineage["parent"] == "pruned"
