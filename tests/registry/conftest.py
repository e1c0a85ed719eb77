import os
import shutil

import pytest
from registry.projects import Project

from espalier.registry.connection.store import connect, find_store


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """Tests talk to their own stores only, and leave no variable behind."""
    before = dict(os.environ)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    yield
    for name in set(os.environ) - set(before):
        if name.startswith("MLFLOW_"):
            del os.environ[name]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A new database, made once: MLflow takes two seconds for it."""
    root = tmp_path_factory.mktemp("empty")
    with connect(find_store(root)):
        pass
    return root / "mlflow" / "store"


@pytest.fixture
def project(tmp_path, empty_store):
    project = Project(tmp_path / "project")
    shutil.copytree(empty_store, project.root / "mlflow" / "store")
    return project
