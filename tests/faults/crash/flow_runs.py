"""Whole runs of `espalier run` whose processes are disturbed: the flow, its server, DVC, a stage, the live worker.

`make faults-runs` plays many such scenarios, and `make test-all` a few.
"""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from faults.crash.disturbances import MOMENTS, Disturbance, disturb, processes_of
from faults.crash.end_states import differences, finished_models
from faults.crash.tree import GATES, plant

PARAMS = """\
seed: 0
trusted: []
data: {validation: 0.2, test: 0.2}
training: {batch_size: 32, threads: 1}
teacher: {model: "espalier:mlp", arguments: {hidden: [16]}, epochs: 3}
models:
  student: {from: teacher, by: distill, model: "espalier:mlp", arguments: {hidden: [8]}, epochs: 3}
  pruned: {from: teacher, by: prune, keep_macs: 0.7, align: 1, finetune: {epochs: 2}}
evaluation: {rounds: 3}
registry: {name: tiny, promote: true}
"""
CONFIG = "[core]\n    no_scm = true\n    analytics = false\n"
ESPALIER = str(Path(sys.executable).with_name("espalier"))
# done, a defect after its retry, worth a retry, stopped, and ended by a signal; 2 would call a kill bad input
STATUSES = (0, 1, 75, 143, -9, -15)
IDLE = "0 of 6 stages were made, 6 were unchanged."
_LIMIT = 900.0  # seconds of one attempt
_LEAVING = 30.0  # seconds that the processes of an ended run may take to end
_TICK = 0.05


@dataclass
class Result:
    """The end of a scenario.

    Attributes:
        met: the disturbances that met a process.
        attempts: number of runs until one ended with 0.
        problems: sentences; empty if all is as in an undisturbed project.
        trained_again: models that were trained again after they were complete.
    """

    met: list[Disturbance] = field(default_factory=list)
    attempts: int = 0
    problems: list[str] = field(default_factory=list)
    trained_again: int = 0


def plant_project(project: Path, embedded: Path, graph: Path) -> Path:
    """Make a project with the shipped graph, three tiny models and no results.

    Args:
        project: folder of the project.
        embedded: folder of the embedded digits.
        graph: the shipped `dvc.yaml`.
    """
    plant(project, embedded)
    shutil.copy(graph, project / "dvc.yaml")
    (project / ".dvc" / "config").write_text(CONFIG)
    (project / "params.yaml").write_text(PARAMS)
    (project / "mlflow" / "gates.yaml").write_text(GATES)
    return project


def environment(root: Path) -> dict[str, str]:
    """The environment of a user without settings of Prefect and MLflow, whose home is above the project."""
    named = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PREFECT_", "MLFLOW_")) and name != "PWD"
    }
    path = os.pathsep.join([str(Path(ESPALIER).parent), os.environ["PATH"]])
    return named | {"HOME": str(root.parent), "PATH": path, "DVC_NO_ANALYTICS": "1"}


def play(disturbances: list[Disturbance], start: Path, undisturbed: Path, root: Path) -> Result:
    """Disturb runs of a copy of the project, repeat them until one ends well, and compare.

    Args:
        disturbances: they happen in the order of their moments.
        start: the project before the first run.
        undisturbed: the project after a run that nothing disturbed.
        root: folder of the copy.
    """
    shutil.copytree(start, root)
    result, finished = Result(), dict[str, float]()
    pending = sorted(disturbances, key=lambda one: MOMENTS.index(one.moment))
    status, output = None, ""
    while status != 0 and result.attempts <= len(disturbances) + 2:
        result.attempts += 1
        status, output = attempt(root, pending, result, finished)
        if status not in STATUSES or "Traceback" in output:
            result.problems.append(f"status {status}: {output[-3000:]}")
    if status != 0:
        result.problems.append(f"the last run ended with {status}: {output[-3000:]}")
    status, output = attempt(root, [], result, finished)
    if status != 0 or IDLE not in output:
        result.problems.append(f"it was not idle: status {status}: {output[-3000:]}")
    result.problems += _left_processes(root)
    result.problems += differences(root, undisturbed)
    return result


def attempt(
    root: Path, pending: list[Disturbance], result: Result, finished: dict[str, float]
) -> tuple[int, str]:
    """Call `espalier run` once; takes the disturbances whose moments it reaches from `pending`.

    Returns:
        Its exit status, and its output.
    """
    log, begun = root.with_suffix(".log"), time.monotonic()
    with log.open("wb") as output:
        run = subprocess.Popen(
            [ESPALIER, "run"],
            cwd=root,
            env=environment(root),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    while run.poll() is None:
        if time.monotonic() - begun > _LIMIT:
            result.problems.append(f"expected an end within {_LIMIT:g} s; found it still running")
            run.kill()
        while pending and run.poll() is None and pending[0].moment in _lines(log):
            disturbance = pending.pop(0)
            if disturb(root, disturbance):
                result.met.append(disturbance)
        _note_trainings(root, result, finished)
        time.sleep(_TICK)
    _note_trainings(root, result, finished)
    return run.returncode, _lines(log)


def _lines(log: Path) -> str:
    return log.read_text(errors="replace")


def _note_trainings(root: Path, result: Result, finished: dict[str, float]) -> None:
    for name, when in finished_models(root).items():
        result.trained_again += finished.setdefault(name, when) != when
        finished[name] = when


def _left_processes(root: Path) -> list[str]:
    deadline = time.monotonic() + _LEAVING
    while left := [kind for kind, _ in processes_of(root)]:
        if time.monotonic() > deadline:
            return [f"a process is left: {kind}" for kind in left]
        time.sleep(_TICK)
    return []
