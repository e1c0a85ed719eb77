"""Fixtures of the page: a project with all models made and judged."""

import shutil
from pathlib import Path

import pytest
import yaml

GATES = {"champion": {"gates": {"examples": 300, "bytes_ratio": 0.9, "torch_agreement": 0.9}}}


@pytest.fixture(scope="session")
def judged(tiny, tmp_path_factory) -> Path:
    """A project whose models are all made and evaluated."""
    from espalier.commands import evaluate, make

    root = shutil.copytree(tiny, tmp_path_factory.mktemp("judged") / "project")
    (root / "mlflow").mkdir()
    (root / "mlflow" / "gates.yaml").write_text(yaml.safe_dump(GATES))
    for name in ("student", "student-p60", "student-int8"):
        make.run(root, name)
    evaluate.run(root)
    return root


@pytest.fixture
def project(judged, tmp_path) -> Path:
    return shutil.copytree(judged, tmp_path / "project")
