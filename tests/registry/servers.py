"""A real tracking server for tests, with the options that `mlflow/compose.yaml` gives it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import yaml

COMPOSE = Path(__file__).parents[2] / "mlflow" / "compose.yaml"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command, address, log, **options):
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, start_new_session=True, **options
        )
        try:
            for _ in range(600):
                with contextlib.suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(address, timeout=5).close()
                    break
                assert process.poll() is None, log.read_text()
                time.sleep(0.2)
            else:
                pytest.fail(
                    f"Expected {address} to answer within two minutes; found: {log.read_text()}"
                )
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def server_command(folder, port):
    """The command of the compose file, without a login, with a store in a folder and on another address."""
    command = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]["command"]
    replaced = {
        "--host": "127.0.0.1",
        "--port": str(port),
        "--workers": "1",
        "--backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination": f"{folder}/artifacts",
    }
    options = [option.partition("=") for option in command[2:]]
    spelled = [
        f"{name}={replaced.get(name, value)}" for name, _, value in options if name != "--app-name"
    ]
    return [sys.executable, "-m", *command[:2], *spelled]


def server_environment():
    """The variables of the compose file that name no other service and no secret."""
    variables = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]["environment"]
    kept = ("DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION")
    return os.environ | {name: variables[name] for name in kept}


@contextlib.contextmanager
def serving(folder, *options, **variables):
    """A server that keeps everything in a folder, with further options and variables; gives its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [*server_command(folder, port), *options]
    environment = server_environment() | variables
    with running(command, f"{address}/health", folder / "log", cwd=folder, env=environment):
        yield address
