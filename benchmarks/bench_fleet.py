"""A tree of six entries and a teacher on one worker and on two, and a night with nothing new.

    python benchmarks/bench_fleet.py [--epochs 150] [--write]

Each worker has a home of its own, makes one stage at a time with one thread, and gets files through a DVC remote, as on
another machine. Both trees are made from nothing in new projects, one after the other, against one Prefect
server. The weights of both must be equal.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from committed import conditions, show

from espalier.files import sha256

POOL = "espalier-stages"
PARAMS = """\
seed: 0
trusted: []
data: {{validation: 0.15, test: 0.2, split: exact}}
training: {{batch_size: 64, threads: 1, learning_rate: 0.05}}
teacher: {{model: "espalier:resnet", arguments: {{depth: 8, width: 16}}, epochs: 4}}
models:
{models}
evaluation: {{rounds: 3}}
fleet: {{gpu: [teacher, "student*"]}}
registry: {{name: fleet}}
"""
ENTRY = (
    "  student-{number}: {{from: teacher, by: distill, model: 'espalier:resnet', "
    "arguments: {{depth: 8, width: {width}}}, epochs: {epochs}}}"
)
WIDTHS = (8, 9, 10, 11, 12, 13)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=150, help="epochs of each student")
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    measured = conditions(f"python benchmarks/bench_fleet.py --epochs {given.epochs} --write")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with prefect_server(folder / "prefect") as environment:
            ways = {
                count: measure(folder / str(count), count, given.epochs, environment)
                for count in (1, 2)
            }
    result = measured | {
        "seconds": {str(count): way["seconds"] for count, way in ways.items()},
        "ratio": round(ways[2]["seconds"] / ways[1]["seconds"], 3),
        "equal_weights": ways[1]["weights"] == ways[2]["weights"],
        "night_with_nothing_new_seconds": ways[2]["night"],
        "night_bytes_moved": ways[2]["moved"],
    }
    show("fleet", result, write=given.write)


def measure(folder: Path, workers: int, epochs: int, environment: dict[str, str]) -> dict[str, Any]:
    """Make the tree with some workers; its seconds, its weights, and those of a night after it."""
    project = make_project(folder, epochs)
    with running_workers(folder, workers, environment):
        started = time.perf_counter()
        run(project, environment)
        seconds = time.perf_counter() - started
        run(project, environment)  # the first `dvc status` after a run hashes what came
        before = files_of(folder / "remote"), files_of(project / "models")
        started = time.perf_counter()
        run(project, environment)
        night = time.perf_counter() - started
        after = files_of(folder / "remote"), files_of(project / "models")
    weights = {
        path.parent.name: sha256(path) for path in project.glob("models/*/weights.safetensors")
    }
    return {
        "seconds": round(seconds, 1),
        "night": round(night, 1),
        "weights": weights,
        "moved": 0 if before == after else "some",
    }


def make_project(folder: Path, epochs: int) -> Path:
    """A committed project of the digits with a remote beside it."""
    project = folder / "project"
    folder.mkdir()
    call(folder, "espalier", "init", "project", "--recipe", "digits")
    models = "\n".join(
        ENTRY.format(number=number, width=width, epochs=epochs)
        for number, width in enumerate(WIDTHS)
    )
    (project / "params.yaml").write_text(PARAMS.format(models=models))
    call(project, "dvc", "remote", "add", "--default", "team", str(folder / "remote"))
    call(project, "dvc", "push", "--quiet")
    call(project, "git", "add", "--all")
    call(
        project,
        "git",
        "-c",
        "user.name=A",
        "-c",
        "user.email=a@example.org",
        "commit",
        "-qm",
        "start",
    )
    return project


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """A Prefect server with the deployment; the environment that names it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
    }
    environment = {name: value for name, value in os.environ.items() if name != "PWD"} | own
    command = [
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
    with background(command, home.parent, environment):
        wait_until_ready(own["PREFECT_API_URL"])
        deployments = Path(__file__).parents[1] / "prefect.yaml"
        shutil.copy(deployments, home.parent)
        for words in (
            ["work-pool", "create", POOL, "--type", "process"],
            ["--no-prompt", "deploy", "--name", "stage"],
        ):
            call(home.parent, sys.executable, "-m", "prefect", *words, environment=environment)
        yield environment


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
            return
        time.sleep(0.3)
    raise SystemExit("Expected the Prefect server to start within 120 s; found no answer.")


@contextmanager
def running_workers(folder: Path, count: int, environment: dict[str, str]) -> Iterator[None]:
    """Workers of one queue, each with a home of its own."""
    words = [
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        POOL,
        "--work-queue",
        "gpu",
        "--type",
        "process",
    ]
    words += ["--limit", "1"]
    with ExitStack() as stack:
        for number in range(count):
            home = {"ESPALIER_WORKER_HOME": str(folder / f"home-{number}")}
            stack.enter_context(background(words, folder, environment | home))
        yield


@contextmanager
def background(words: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A process of Python while the block runs."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{words[2]}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=folder, env=environment, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except (
            subprocess.TimeoutExpired
        ):  # Prefect's worker now and then waits for a run that has ended
            process.kill()


def run(project: Path, environment: dict[str, str]) -> None:
    call(project, "espalier", "run", environment=environment)


def call(folder: Path, *command: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(
            f"Expected `{' '.join(command)}` to succeed; found:\n{done.stdout}{done.stderr}"
        )


def files_of(folder: Path) -> dict[str, float]:
    """The files below a folder with their times of change."""
    return {str(path): path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    main()
