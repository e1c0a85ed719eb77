"""Whole runs of `dvc repro` that are killed: DVC alone, at a call that changes files, or all processes at some time."""

import json
import random
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from faults.crash.forks import KILLED, Forks
from faults.crash.scenarios import EPOCHS, Result, draw_call
from faults.crash.tree import Tree, differences

from espalier.making.stage_dependencies import recorded_outputs
from espalier.tasks.dvc_locks import mend_record, release_dead

REPRO = "repro"  # of the runner: `dvc repro evaluate`
_MODELS = ("teacher", "student", "pruned", "int8")
_STAGES = ("prepare", *(f"make@{name}" for name in _MODELS), "evaluate")


@dataclass(frozen=True)
class RunKill:
    """A kill of a run: of DVC alone at its `at`-th call that changes files, or of all after `seconds`."""

    at: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class RunScenario:
    """A run, and the kills of its attempts, one after another."""

    kills: tuple[RunKill, ...]
    stage: str = REPRO


@dataclass(frozen=True)
class Runs:
    """A project with a graph for `dvc repro`, and an undisturbed run of it.

    Attributes:
        start: the project before the first run.
        calls: calls of DVC in an undisturbed run that change files.
        seconds: duration of an undisturbed run.
    """

    start: Path
    calls: int
    seconds: float

    @classmethod
    def prepare(cls, folder: Path, tree: Tree, graph: Path, runners: list[Forks]) -> "Runs":
        """Make the project, and let one run import everything that the others need."""
        start, at = folder / "start", folder / "undisturbed"
        shutil.copytree(tree.folder / "before" / "prepare", start)
        shutil.copy(graph, start / "dvc.yaml")
        for path in ("tmp", "cache"):
            (start / ".dvc" / path).mkdir()
        (start / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
        shutil.copytree(start, at)
        modules = runners[0].modules_of(at, REPRO)
        for runner in runners:
            runner.warm_up(modules)
        shutil.rmtree(at)
        shutil.copytree(start, at)
        begun = time.monotonic()
        undisturbed = runners[0].run(at, REPRO)
        return cls(start, undisturbed.calls, time.monotonic() - begun)


def each_call(calls: int, step: int = 1) -> Iterator[RunScenario]:
    """A scenario for each call of DVC."""
    for at in range(1, calls + 1, step):
        yield RunScenario((RunKill(at=at),))


def chains(runs: Runs, count: int, length: int, seed: int) -> Iterator[RunScenario]:
    """Scenarios whose repetitions are killed as well: half of the kills of DVC alone, half of all processes."""
    drawn = random.Random(f"{REPRO} {seed}")
    for _ in range(count):
        kills = []
        for _ in range(length):
            alone = RunKill(at=draw_call(drawn, runs.calls))
            together = RunKill(seconds=drawn.uniform(0.02, runs.seconds / 2))
            kills.append(drawn.choice((alone, together)))
        yield RunScenario(tuple(kills))


def play(scenario: RunScenario, runs: Runs, tree: Tree, forks: Forks, at: Path) -> Result:
    """Kill a run as a scenario says, repeat it to its end, and compare."""
    at = at / uuid.uuid4().hex  # a stage that outlived the scenario before may still write
    shutil.copytree(runs.start, at)
    result, finished = Result(), dict[str, float]()
    epochs = 0
    for kill in (*scenario.kills, RunKill()):
        # as `espalier run` does: a killed DVC leaves files that it cannot read itself
        release_dead(at)
        mend_record(at)
        attempt = forks.run(at, REPRO, kill.at, "kill", kill.seconds)
        epochs += attempt.epochs
        result.kills += attempt.status == KILLED
        if attempt.status not in (0, KILLED):
            result.problems.append(f"status {attempt.status}: {attempt.output[-3000:]}")
        for name, when in _finished(at).items():
            finished.setdefault(name, when)
    again = [name for name, when in _finished(at).items() if when != finished[name]]
    result.trained_again += sum(EPOCHS.get(f"make@{name}", 1) for name in again)
    for stage in _STAGES:
        result.problems += [
            f"other bits: {name}" for name in differences(stage, at, tree.undisturbed)
        ]
    if epochs > sum(EPOCHS.values()) + result.kills:
        result.problems.append(f"{epochs} epochs with {result.kills} kills")
    recorded = recorded_outputs(at)
    result.problems += [
        f"{name} is not recorded" for name in _MODELS if f"models/{name}" not in recorded
    ]
    shutil.rmtree(at, ignore_errors=True)
    return result


def _finished(root: Path) -> dict[str, float]:
    """When each complete model was trained: another training has another time."""
    found = {}
    for name in _MODELS:
        for folder in (root / ".espalier" / "kept" / "models" / name, root / "models" / name):
            # a stage that outlived DVC may be replacing the folder
            with suppress(FileNotFoundError):
                (folder / "manifest.json").stat()
                found[name] = json.loads((folder / "lineage.json").read_text())["finished"]
    return found
