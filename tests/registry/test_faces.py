"""The rooms of the registry are imported by their faces, and the faces import neither MLflow nor torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACES = (
    "espalier.registry",
    "espalier.registry.connection",
    "espalier.registry.versions",
    "espalier.registry.live",
    "espalier.registry.memos",
    "espalier.registry.promotion",
    "espalier.registry.recovery",
)


@pytest.mark.parametrize("face", [*FACES, "espalier.commands.register", "espalier.commands.models"])
def test_importing_a_face_imports_neither_mlflow_nor_torch(face):
    code = (
        f"import sys, {face}; print([name for name in ('mlflow', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("face", FACES)
def test_every_name_of_a_face_exists(face):
    module = __import__(face, fromlist=["__all__"])
    assert sorted(module.__all__, key=str.swapcase) == sorted(set(module.__all__), key=str.swapcase)
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_other_packages_import_the_faces_only():
    inside = []
    for folder in ("espalier", "tasks", "flows"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "registry" not in path.relative_to(ROOT).parts[1:2]:
                inside += [f"{path}: {name}" for name in imported(path) if is_inside(name)]
    assert inside == []


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def is_inside(name):
    return name.startswith("espalier.registry.") and name not in FACES
