"""Disturbances of `espalier run`: a process, the signals it gets, and the line of output after which it gets them."""

import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil

# words of the command lines of a run's processes: the first line with a matching word decides
PROCESSES = {
    "server": ("espalier.tasks.server",),
    "warm process": ("espalier.warm.server",),
    "live worker": ("espalier.registry.live.live_worker",),
    "runtime": ("espalier.runtimes.guarded_process", "espalier.runtimes.memory"),
    "dvc": ("dvc",),
    "flow": ("run",),
    "stage": ("prepare", "make", "evaluate", "register", "promote"),
}
ALL = "all at once"
ACTS = {
    "SIGKILL": (signal.SIGKILL,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGTERM twice": (signal.SIGTERM, signal.SIGTERM),
    "SIGSTOP, SIGCONT": (signal.SIGSTOP, signal.SIGCONT),
    "SIGSTOP, SIGKILL": (signal.SIGSTOP, signal.SIGKILL),
}
# lines of a run, in their order: between two of them DVC's record, a state in Prefect, MLflow or an alias changes
MOMENTS = (
    "prepare  starts",
    "prepare  prepared/ is ready",
    "teacher  starts",
    "teacher  epoch 2",
    "teacher  teacher: ",
    "teacher  done",
    "student  epoch 1",
    "student  done",
    "pruned   pruned: ",
    "evaluate  starts",
    "evaluate  measured",
    "register  starts",
    "register  teacher  version",
    "register  done",
    "promote  candidate",
    "promote  tiny@champion",
)
_ONLY = {"runtime": ("evaluate  starts", "register  done")}  # moments before it exists
_APPEARS = 60.0  # seconds in which a process may appear after its line
_DELAYS = (0.0, 0.3, 3.0)  # seconds after the line, at most
_TICK = 0.02


@dataclass(frozen=True)
class Disturbance:
    """A disturbance.

    Attributes:
        process: key of `PROCESSES`, or `ALL`.
        act: key of `ACTS`.
        moment: line, one of `MOMENTS`, after which it happens.
        delay: seconds after that line.
        pause: seconds between two signals.
    """

    process: str
    act: str
    moment: str
    delay: float = 0.0
    pause: float = 1.0


def draw(count: int, seed: int) -> list[Disturbance]:
    """Disturbances drawn with a seed: each process meets each act equally often, at drawn moments."""
    drawn = random.Random(seed)
    found: list[Disturbance] = []
    while len(found) < count:
        pairs = [*product(PROCESSES, ACTS), (ALL, "SIGKILL")]
        drawn.shuffle(pairs)
        found += [_at_some_moment(process, act, drawn) for process, act in pairs]
    return found[:count]


def _at_some_moment(process: str, act: str, drawn: random.Random) -> Disturbance:
    moment = drawn.choice(_ONLY.get(process, MOMENTS))
    delay = drawn.random() * drawn.choice(_DELAYS)
    return Disturbance(process, act, moment, delay, pause=drawn.uniform(0.5, 5.0))


def disturb(root: Path, disturbance: Disturbance) -> bool:
    """Send the signals of a disturbance; returns whether there was a process to send them to."""
    time.sleep(disturbance.delay)
    found = _wait_for(root, disturbance.process)
    for number, sign in enumerate(ACTS[disturbance.act]):
        if number and found:
            time.sleep(disturbance.pause)
        for process in found:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(sign)
    return bool(found)


def processes_of(root: Path) -> Iterator[tuple[str, psutil.Process]]:
    """The processes that work in a project, each with its key in `PROCESSES`, or its command line."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cwd() == str(root):
                words = process.cmdline()
                yield _kind(words), process


def _kind(words: list[str]) -> str:
    for kind, wanted in PROCESSES.items():
        if any(word in wanted for word in words):
            return kind
    return " ".join(words)


def _wait_for(root: Path, wanted: str) -> list[psutil.Process]:
    """The processes of a kind, as soon as there are some, or none if the flow ends before."""
    deadline = time.monotonic() + _APPEARS
    while time.monotonic() < deadline:
        every = list(processes_of(root))
        found = [process for kind, process in every if wanted in (kind, ALL)]
        if found or not any(kind == "flow" for kind, _ in every):
            return found if wanted == ALL else found[:1]
        time.sleep(_TICK)
    return []
