"""The examples execute, do what they say, and need few lines of Espalier."""

import ast
import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from espalier.making.problems import find_problems
from espalier.models import build
from espalier.params import read_params


def environment(project_root):
    path = os.pathsep.join([str(project_root), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def test_the_methods_work_in_a_loop_of_ones_own(project_root, digits):
    done = subprocess.run(
        [sys.executable, "own_loop.py", str(digits)],
        cwd=project_root / "examples",
        env=environment(project_root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}
    score = {name: float(words[0]) for name, words in lines.items() if name != "changed"}
    size = {
        name: int(words[2].replace(",", "")) for name, words in lines.items() if name != "changed"
    }
    assert size["pruned"] <= 0.5 * size["whole"]
    assert score["distilled"] > score["pruned"]
    assert score["folded"] == score["distilled"] > 93
    assert score["int8"] > 93
    assert score["packed"] > 90
    assert size["packed"] < 6000
    assert lines["changed"] == ["5", "classes"]


@pytest.mark.parametrize("name", ["pruned", "distilled", "folded", "deployed", "saved", "packed"])
def test_a_method_needs_at_most_five_lines_of_espalier(project_root, name):
    module = ast.parse((project_root / "examples" / "own_loop.py").read_text())
    imported = {
        alias.asname or alias.name
        for node in module.body
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("espalier")
        for alias in node.names
    }
    (function,) = (
        one for one in module.body if isinstance(one, ast.FunctionDef) and one.name == name
    )
    lines = {
        node.lineno
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id in imported
    }
    assert 1 <= len(lines) <= 5


@pytest.mark.slow
def test_the_notebook_executes(project_root, digits):
    notebook = json.loads((project_root / "examples" / "own_loop.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    program = "\n".join([*cells, "print(float(int8))"])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project_root / "examples",
        env=environment(project_root) | {"PREPARED": str(digits)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.splitlines()[-1]) > 0.9


def test_the_example_of_foreign_weights_is_a_project_with_nothing_to_refuse(
    project_root, tmp_path, monkeypatch
):
    """With a checkpoint of its network in place, as `benchmarks/bench_imported.py` sets it up."""
    project = tmp_path / "project"
    espalier = [sys.executable, "-c", "from espalier.flows.cli import main; main()"]
    subprocess.run(
        [*espalier, "init", str(project), "--recipe", "import"],
        env=environment(project_root),
        check=True,
        capture_output=True,
    )
    shutil.copytree(project_root / "examples" / "resnet56", project, dirs_exist_ok=True)
    monkeypatch.syspath_prepend(project)
    monkeypatch.delitem(sys.modules, "networks", raising=False)  # of a project of another test
    for declared in ("params.yaml", "bytes.yaml", "small.yaml", "packed.yaml"):
        shutil.copy(project_root / "examples" / "resnet56" / declared, project / "params.yaml")
        teacher = read_params(project).teacher
        network = build(
            teacher.model,
            classes=10,
            shape=(3, 32, 32),
            arguments=teacher.arguments,
            trusted=["networks"],
        )
        torch.save({"state_dict": network.state_dict()}, project / teacher.weights)
        assert find_problems(project) == [], declared
    sys.modules.pop("networks")
