"""A real tracking server, and real serving."""

import json
import os
import sys
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
from registry.servers import free_port, running, serving

from espalier import files
from espalier.registry import missing, register


def test_a_server_holds_what_is_registered(project, tmp_path, monkeypatch):
    register(project.root, project.params)  # the local store holds it all; the server nothing yet
    with serving(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        assert set(missing(project.root, project.params)) == {"teacher", "student", "student-p50"}
        assert all(one.new for one in register(project.root, project.params))
        assert not any(one.new for one in register(project.root, project.params))
        assert missing(project.root, project.params) == {}
        assert json.loads((project.root / "registered.json").read_text())["tracking_uri"] == address
        folder = project.write_model("student", seed=9)
        assert [one.new for one in register(project.root, project.params)] == [False, True, False]
        fetched = mlflow.artifacts.download_artifacts(
            "models:/digits@student", dst_path=str(tmp_path / "fetched")
        )
        assert files.verify(Path(fetched)) == files.verify(folder)


def test_a_registered_model_can_be_served_from_the_root_of_a_project_that_was_moved(
    project, tmp_path
):
    register(project.root, project.params)
    project.root = project.root.rename(tmp_path / "moved elsewhere")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits@student"]
    # MLflow starts `uvicorn` by name
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow/store/mlflow.db",
        "PATH": search,
    }
    images = project.images()
    with running(
        [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)],
        f"{address}/ping",
        tmp_path / "log",
        cwd=project.root,
        env=environment,
    ):
        request = urllib.request.Request(
            f"{address}/invocations",
            data=json.dumps({"inputs": {"image": images.tolist()}}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            answer = json.load(response)
    np.testing.assert_allclose(
        answer["predictions"]["logits"], project.answers("student", images), rtol=1e-6
    )
