"""A real tracking server, with the options that `mlflow/compose.yaml` gives it, and real serving."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml

from espalier import files
from espalier.registry import missing, register

COMPOSE = Path(__file__).parents[2] / "mlflow" / "compose.yaml"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command, address, log, **options):
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)
        try:
            for _ in range(300):
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(address, timeout=5).close()
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            else:
                pytest.fail(f"{address} should answer within a minute. Found: {log.read_text()}")
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def server_command(folder, port):
    """The command of the compose file, on another address and in another folder."""
    command = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]["command"]
    replaced = {"--host": "127.0.0.1", "--port": str(port), "--workers": "1"}
    options = [option.partition("=") for option in command[1:]]
    spelled = [name + mark + replaced.get(name, value) for name, mark, value in options]
    return [sys.executable, "-m", command[0], *(one.replace("/store/", f"{folder}/") for one in spelled)]


def server_environment():
    return os.environ | yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]["environment"]


def test_a_server_holds_what_is_registered(project, tmp_path, monkeypatch):
    register(project.root, project.params)  # the local store holds it all; the server nothing yet
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command, environment = server_command(tmp_path, port), server_environment()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with running(command, f"{address}/health", tmp_path / "log", cwd=tmp_path, env=environment):
        assert set(missing(project.root, project.params)) == {"teacher", "student", "student-p50"}
        assert all(one.new for one in register(project.root, project.params))
        assert not any(one.new for one in register(project.root, project.params))
        assert missing(project.root, project.params) == {}
        assert json.loads((project.root / "registered.json").read_text())["tracking_uri"] == address
        folder = project.write_model("student", seed=9)
        assert [one.new for one in register(project.root, project.params)] == [False, True, False]
        fetched = mlflow.artifacts.download_artifacts("models:/digits@student", dst_path=str(tmp_path / "fetched"))
        assert files.verify(Path(fetched)) == files.verify(folder)


def test_a_registered_model_can_be_served_from_the_root_of_a_project_that_was_moved(project, tmp_path):
    register(project.root, project.params)
    project.root = project.root.rename(tmp_path / "moved elsewhere")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/digits@student"]
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow starts `uvicorn` by name
    environment = os.environ | {"MLFLOW_TRACKING_URI": "sqlite:///mlflow/store/mlflow.db", "PATH": search}
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
    np.testing.assert_allclose(answer["predictions"]["logits"], project.answers("student", images), rtol=1e-6)
