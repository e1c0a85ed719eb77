"""Disturb runs of two workers in all ways, and count the trainings of the teacher.

    python tests/faults/fleet_campaign.py --runs 50

Each run has a new project with inputs of its own, two workers of one queue, and a real Prefect server. While the
teacher trains, one thing is disturbed; then the run is ended, by another `espalier run` if its own was killed. The
teacher must have been trained to its end once, and all results must be those of one machine.
"""

import argparse
import collections
import json
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import sample_projects
from network_namespace import Namespace, namespace

from espalier.measures.device import processor_name
from espalier.tasks.fleet.lock_entries import read_entries
from espalier.tasks.fleet.request import POOL

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "docs" / "reliability_fleet.json"
TRAINING = "note('ready')\nfor _ in range(20): time.sleep(0.2)\n"
RUN = [sys.executable, "-c", "from espalier.flows.cli import main; main()", "run"]
DISTURBANCES = (
    "nothing",
    "stage",
    "flow run",
    "worker",
    "machine",
    "parent",
    "server",
    "remote",
    "second parent",
    "network",
)
CUT = 20  # seconds; after 80 s without a heartbeat another worker begins the stage anew


@dataclass
class Fleet:
    """A Prefect server and two workers, which can be killed and started again.

    Worker b is in a network namespace of its own, where the system allows one.
    """

    folder: Path
    port: int
    namespace: Namespace | None
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.namespace.host if self.namespace else "127.0.0.1"

    @property
    def environment(self) -> dict[str, str]:
        own = {
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_API_URL": f"http://{self.host}:{self.port}/api",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "true",
            "SAMPLE_EVENTS": str(self.folder / "events.log"),
        }
        return sample_projects.ENVIRONMENT | own

    def start(self, name: str) -> None:
        """Start the server, or the worker of this name."""
        if name == "server":
            words = ["server", "start", "--host", self.host, "--port", str(self.port), "--no-ui"]
        else:
            words = ["worker", "start", "--pool", POOL, "--work-queue", "gpu", "--type", "process"]
            words += ["--name", name, "--limit", "1"]
        inside = self.namespace.prefix if self.namespace and name == "worker-b" else []
        home = {"ESPALIER_WORKER_HOME": str(self.folder / name)}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*inside, sys.executable, "-m", "prefect", *words],
                cwd=self.folder,
                env=self.environment | home,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if name == "server":
            self.wait_for_server()

    def wait_for_server(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with (
                suppress(OSError),
                urllib.request.urlopen(f"http://{self.host}:{self.port}/api/health", timeout=5),
            ):
                return
            time.sleep(0.2)
        raise SystemExit("Expected the Prefect server to start; found no answer.")

    def kill(self, name: str) -> None:
        """Kill one of the processes, without its children."""
        self.processes[name].kill()
        self.processes[name].wait()

    def events(self, stage: str, event: str) -> list[dict[str, Any]]:
        log = self.folder / "events.log"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return [line for line in lines if (line["stage"], line["event"]) == (stage, event)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=DISTURBANCES, default=DISTURBANCES)
    parser.add_argument("--write", action="store_true", help="write docs/reliability_fleet.json")
    parser.add_argument("--minutes", type=float, default=float("inf"))
    given = parser.parse_args()
    began = time.monotonic()
    draw, ended = random.Random(given.seed), began + 60 * given.minutes
    counts: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as temporary, namespace() as place:
        chosen = [one for one in given.only if place or one != "network"]
        if not chosen:
            raise SystemExit("Expected to be root on Linux, to cut a network; found no namespace.")
        fleet = started_fleet(Path(temporary), place)
        try:
            for number in range(given.first, given.first + given.runs):
                if time.monotonic() > ended:
                    break
                disturbance = chosen[number % len(chosen)]
                fault = one_run(fleet, number, disturbance, draw.uniform(0, 3))
                counts[disturbance] += 1
                faults += [f"run {number}, {disturbance}: {fault}"] if fault else []
                print(number, disturbance, fault or "trained once", flush=True)  # noqa: T201
        finally:
            for process in fleet.processes.values():
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    only = "" if given.only == DISTURBANCES else f" --only {shlex.join(given.only)}"
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python tests/faults/fleet_campaign.py --runs {given.runs} --seed {given.seed}{only} --write",
        "machine": processor_name(),
        "minutes": round((time.monotonic() - began) / 60),
        "runs": sum(counts.values()),
        "disturbed": counts,
        "faults": faults,
    }
    content = json.dumps(record, indent=2) + "\n"
    sys.stdout.write(content)
    if given.write:
        RECORD.write_text(content)
    sys.exit(bool(faults))


def started_fleet(folder: Path, place: Namespace | None) -> Fleet:
    with socket.create_server(("127.0.0.1", 0)) as free:
        fleet = Fleet(folder, free.getsockname()[1], place)
    fleet.start("server")
    shutil.copy(ROOT / "prefect.yaml", folder)
    for words in (
        ["work-pool", "create", POOL, "--type", "process"],
        ["--no-prompt", "deploy", "--name", "stage"],
    ):
        command = [sys.executable, "-m", "prefect", *words]
        subprocess.run(command, cwd=folder, env=fleet.environment, check=True, capture_output=True)
    fleet.start("worker-a")
    fleet.start("worker-b")
    return fleet


def one_run(fleet: Fleet, number: int, disturbance: str, delay: float) -> str:
    """Make a project while something is disturbed; the fault that was found, or an empty text."""
    project, alone = made_project(fleet, number)
    (fleet.folder / "events.log").write_text("")
    runs = [start_run(fleet, project, number)]
    if disturbance == "second parent":
        clone = fleet.folder / f"clone-{number}"
        sample_projects.call(fleet.folder, "git", "clone", "--quiet", str(project), str(clone))
        sample_projects.call(clone, "dvc", "pull", "--quiet", "data.dvc")
        runs.append(start_run(fleet, clone, number))
    deadline = time.monotonic() + 180
    while not (found := fleet.events("teacher", "ready")):
        if time.monotonic() > deadline or any(run.poll() for run in runs):
            return f"the teacher did not begin; see {fleet.folder}"
        time.sleep(0.1)
    time.sleep(delay)
    disturb(fleet, disturbance, psutil.Process(found[0]["pid"]), runs[0], number)
    statuses = [run.wait(400) for run in runs]
    if disturbance == "parent":
        statuses = [start_run(fleet, project, number).wait(400)]
    trained = len(fleet.events("teacher", "end"))
    if any(statuses) or trained != 1:
        log = (fleet.folder / f"run-{number}.log").read_text()[-2000:]
        return f"statuses {statuses}, trained {trained} times\n{log}"
    return (
        "" if read_entries(project) == read_entries(alone) else "another result than on one machine"
    )


def disturb(
    fleet: Fleet,
    disturbance: str,
    stage: psutil.Process,
    parent: subprocess.Popen[bytes],
    number: int,
) -> None:
    """Kill or cut one thing; servers, workers and networks come back."""
    processes = sample_projects.processes_of(stage)
    if disturbance == "stage":
        stage.kill()
    elif disturbance == "flow run":
        processes[0].kill()
        kill_all(processes[1:])
    elif disturbance in ("worker", "machine"):
        worker = next(
            one
            for one in ("worker-a", "worker-b")
            if fleet.processes[one].pid == processes[0].ppid()
        )
        fleet.kill(worker)
        if disturbance == "machine":
            kill_all(processes)
        fleet.start(worker)
    elif disturbance == "parent":
        parent.kill()
    elif disturbance == "server":
        fleet.kill("server")
        time.sleep(2)
        fleet.start("server")
    elif disturbance == "network":
        assert fleet.namespace
        fleet.namespace.cut()
        time.sleep(CUT)
        fleet.namespace.join()
    elif disturbance == "remote":
        place = fleet.folder / f"remote-{number}"
        place.rename(f"{place}-away")
        place.touch()  # DVC would make a remote that is missing, and push into it what is lost afterwards
        time.sleep(8)
        place.unlink()
        Path(f"{place}-away").rename(place)


def kill_all(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def made_project(fleet: Fleet, number: int) -> tuple[Path, Path]:
    """A committed project with inputs of its own, and a copy in which one machine has made everything."""
    project = sample_projects.make_project(fleet.folder / f"project-{number}")
    params = yaml.safe_load((project / "params.yaml").read_text()) | {"fleet": {"gpu": ["teacher"]}}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    ignored = ("data", "prepared", "models", "reports", "registered.json", ".espalier")
    (project / ".gitignore").write_text("".join(f"/{name}\n" for name in ignored))
    (project / "data" / "content").write_text(f"{number} {time.time()}\n")
    sample_projects.behave(project, "teacher", TRAINING)
    (fleet.folder / f"remote-{number}").mkdir()
    remote = str(fleet.folder / f"remote-{number}")
    sample_projects.call(project, "dvc", "remote", "add", "--default", "shared", remote)
    sample_projects.call(project, "dvc", "add", "--quiet", "data")
    sample_projects.call(project, "dvc", "push", "--quiet", "data.dvc")
    sample_projects.call(project, "git", "add", "--all")
    sample_projects.call(project, "git", "commit", "--quiet", "--message", "state")
    alone = Path(shutil.copytree(project, fleet.folder / f"alone-{number}"))
    sample_projects.call(alone, "dvc", "repro", "--quiet")
    return project, alone


def start_run(fleet: Fleet, project: Path, number: int) -> subprocess.Popen[bytes]:
    with (fleet.folder / f"run-{number}.log").open("ab") as log:
        return subprocess.Popen(RUN, cwd=project, env=fleet.environment, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
