"""Small projects with real DVC graphs whose stages are short scripts, for tests of orchestration."""

import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import psutil
import yaml

# without PWD, which would lead processes of a test project back to the folder of the tests
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PWD"} | {
    "DVC_NO_ANALYTICS": "1",
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a@example.org",
}  # fmt: skip

MODELS = {
    "student": {"from": "teacher", "by": "prune", "keep_macs": 0.9},
    "student-p50": {"from": "student", "by": "prune", "keep_macs": 0.5},
    "other": {"from": "teacher", "by": "prune", "keep_macs": 0.8},
}


def _command(name: str, out: str, *reads: str) -> str:
    return " ".join(["python stage.py", name, out, *reads])


PIPELINE = {
    "stages": {
        "prepare": {
            "cmd": _command("prepare", "prepared", "data"),
            "deps": ["data"],
            "outs": ["prepared"],
        },
        "teacher": {
            "cmd": _command("teacher", "models/teacher", "prepared"),
            "deps": ["prepared"],
            "outs": ["models/teacher"],
        },
        "model": {
            "foreach": "${models}",
            "do": {
                "cmd": _command("${key}", "models/${key}", "models/${item.from}"),
                "deps": ["models/${item.from}"],
                "params": ["models.${key}"],
                "outs": ["models/${key}"],
            },
        },
        "evaluate": {
            "cmd": _command("evaluate", "reports", "models"),
            "deps": ["prepared", "models"],
            "params": ["models"],
            "outs": ["reports"],
        },
        "register": {
            "cmd": _command("register", "registered.json", "reports"),
            "deps": ["models", "reports"],
            "outs": [{"registered.json": {"cache": False, "persist": True}}],
        },
    }
}


def make_project(root: Path) -> Path:
    """Make a project with a graph like the product's own, without results."""
    root.mkdir(parents=True, exist_ok=True)
    call(root, "git", "init", "--quiet")
    call(root, "dvc", "init", "--quiet")
    write_params(root)
    (root / "dvc.yaml").write_text(yaml.safe_dump(PIPELINE, sort_keys=False))
    shutil.copy(Path(__file__).with_name("sample_stage.py"), root / "stage.py")
    (root / "behave").mkdir()
    (root / "data").mkdir()
    (root / "data" / "content").write_text("data\n")
    call(root, "dvc", "add", "--quiet", "data")
    return root


def write_params(root: Path, **changes: dict[str, object]) -> None:
    """Write `params.yaml`; `changes` are entries under `models`, by name."""
    content = {
        "training": {"threads": 1},
        "teacher": {"model": "espalier:resnet"},
        "models": {name: entry | changes.get(name, {}) for name, entry in MODELS.items()},
    }
    (root / "params.yaml").write_text(yaml.safe_dump(content, sort_keys=False))


def behave(root: Path, stage: str, code: str) -> None:
    """Give a stage code to run before it writes its output."""
    (root / "behave" / f"{stage}.py").write_text(code)


def events(root: Path, event: str = "begin") -> list[str]:
    """The stages that recorded `event`, in order."""
    log = root / "events.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [line["stage"] for line in lines if line["event"] == event]


def reproduce(root: Path, prepared: Path, params: str, stages: dict[str, object]) -> Path:
    """A real project in git and DVC, with these prepared data, whose stages have been made."""
    shutil.copytree(prepared, root / "prepared")
    (root / "params.yaml").write_text(params)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for command in (("git", "init"), ("dvc", "init"), ("dvc", "add", "prepared"), ("dvc", "repro")):
        call(root, *command, "--quiet")
    return root


def call(root: Path, *command: str) -> str:
    """Run a command in a project; returns its output."""
    ended = subprocess.run(
        command, cwd=root, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def wait_for(question, what, seconds=90):
    """Wait until a question has an answer, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.2)
    return answer


def processes_of(stage: psutil.Process) -> list[psutil.Process]:
    """The processes of a worker's flow run, from that of the run down to that of the stage."""
    parents = stage.parents()
    worker = next(place for place, one in enumerate(parents) if "worker" in one.cmdline())
    return [*reversed(parents[:worker]), stage]


ENDING = ExitStack()
"""Servers to stop at the end of the session: exit handlers do not run in the workers of pytest-xdist."""


@functools.cache
def prefect_server() -> dict[str, str]:
    """Start a real `prefect server start`, once for all tests, and return the environment that names it."""
    home = tempfile.mkdtemp(prefix="prefect-")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PREFECT_HOME": home,
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
    }
    command = [
        sys.executable,
        "-m",
        "prefect",
        "server",
        "start",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-ui",
    ]
    process = subprocess.Popen(
        command, env=ENVIRONMENT | environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def stop() -> None:
        process.terminate()
        process.wait(30)
        shutil.rmtree(home, ignore_errors=True)

    ENDING.callback(stop)
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{environment['PREFECT_API_URL']}/health", timeout=5):
                return environment
        except OSError:
            assert process.poll() is None, "the Prefect server ended"
            assert time.monotonic() < deadline, "the Prefect server did not start"
            time.sleep(0.2)
