"""Commands that have nothing to do: a run with a server of its own and with a running one, and the small commands.

    python benchmarks/bench_pipeline.py [--rounds 5] [--project FOLDER] [--write]

The project of the recipe `digits` is made once, with one epoch for each training, or taken from FOLDER. Then each
command is called in turn, each time in a new process, as a user calls it. Wall time and the processor time of the
command and of all processes that it has started are recorded: the former depends on what else runs.
"""

import argparse
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from committed import conditions, show

ROUNDS = 5
PROGRAM = [sys.executable, "-c", "from espalier.flows.cli import main; main()"]
COMMANDS = {
    "help": ["--help"],
    "show": ["show"],
    "promote": ["promote"],
    "run, server of its own": ["run"],
    "run, running server": ["run"],
}
ON_SERVER = "run, running server"
QUIET = {
    "DVC_NO_ANALYTICS": "1",
    "DO_NOT_TRACK": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--project", type=Path, help="a project that is made already")
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    measured = conditions(f"python benchmarks/bench_pipeline.py --rounds {given.rounds} --write")
    with tempfile.TemporaryDirectory() as temporary:
        root = given.project or make_project(Path(temporary) / "project")
        with prefect_server(Path(temporary) / "prefect") as url:
            rounds = measure(root, url, given.rounds)
    result = measured | {
        "versions": {name: version(name) for name in ("prefect", "dvc", "mlflow")},
        "median": {name: _medians(found) for name, found in rounds.items()},
        "rounds": rounds,
    }
    show("pipeline", result, write=given.write)


def make_project(root: Path) -> Path:
    """A project of the recipe `digits`, whose trainings have one epoch each, with everything made."""
    call(root.parent, ["init", str(root), "--recipe", "digits"])
    params = root / "params.yaml"
    params.write_text(re.sub(r"epochs: \d+", "epochs: 1", params.read_text()))
    call(root, ["run"])
    return root


def measure(root: Path, url: str, rounds: int) -> dict[str, list[dict[str, float]]]:
    """The seconds of each command in each round, after one round that is not counted."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, words in COMMANDS.items():
            environment = {"PREFECT_API_URL": url} if name == ON_SERVER else {}
            seconds = call(root, words, environment)
            if number:
                found[name].append(seconds)
    return found


def call(
    root: Path, words: list[str], environment: dict[str, str] | None = None
) -> dict[str, float]:
    """Run a command of Espalier; its wall time and the processor time of all its processes, in seconds."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PREFECT_")}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [*PROGRAM, *words],
        cwd=root,
        env=clean | QUIET | (environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 1):  # 1: no model of one epoch passes the gates
        raise SystemExit(f"espalier {' '.join(words)}: {done.stdout}{done.stderr}")
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall": round(wall, 3), "processor": round(spent, 3)}


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """A server of Prefect; the address of its API."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/api"
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port), "--no-ui"]
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", *command],
        env=os.environ | QUIET | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                break
            time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _medians(rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {key: statistics.median(one[key] for one in rounds) for key in ("wall", "processor")}


if __name__ == "__main__":
    main()
