"""The shared state of the tasks of one run: the project's folder, slots, time limits, and the stop flag."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from espalier import paths
from espalier.params import read_params
from espalier.tasks.flow_runs import hold_flow_lease
from espalier.tasks.live import LiveMetrics
from espalier.tasks.slots import Slot, find_slots


@dataclass(frozen=True)
class TimeLimits:
    """Delays and time limits in seconds.

    Attributes:
        delay: delay before the first retry. It doubles with each further retry and varies by a
            quarter, so that runs that failed together do not retry together.
        timeout: limit of one attempt at one stage; None for no limit.
        grace: time between asking a stage to stop and killing it. A Prefect worker kills a
            cancelled flow after 30 s.
    """

    delay: float = 10.0
    timeout: float | None = None
    grace: float = 20.0


@dataclass(frozen=True)
class Project:
    """A project during one run.

    Attributes:
        root: root folder.
        slots: slots of this machine.
        limits: delays and time limits.
        stop: set when the run must stop.
        queues: work queue of each stage that a worker makes, by its label.
        pushing: held while inputs of workers are pushed.
        pushed: outputs that this run has pushed for workers.
        variables: variables of the processes of stages, beside those of this process.
        live: live metrics of the run's trainings.
    """

    root: Path
    slots: tuple[Slot, ...]
    limits: TimeLimits
    stop: threading.Event = field(default_factory=threading.Event, compare=False)
    queues: Mapping[str, str] = field(default_factory=dict)
    pushing: threading.Lock = field(default_factory=threading.Lock, compare=False, repr=False)
    pushed: set[str] = field(default_factory=set, compare=False, repr=False)
    variables: dict[str, str] = field(default_factory=dict, compare=False, repr=False)
    live: LiveMetrics = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", LiveMetrics(self.root))

    @property
    def locks(self) -> Path:
        """The folder of the locks of slots and stages."""
        return self.root / paths.STATE / "slots"


@contextmanager
def open_project(folder: str, limits: TimeLimits, slots: Path | None = None) -> Iterator[Project]:
    """The project that contains `folder`. Its tasks stop when the block ends by an exception.

    Tasks run in threads, which no signal reaches: Ctrl-C, SIGTERM and cancellation arrive in the
    main thread only.

    Args:
        folder: folder of the project, or one below it.
        limits: delays and time limits.
        slots: folder of the locks of slots, in the clone of a worker, which hands no stage over.

    Raises:
        BadInput: if there is no project, or `params.yaml` is not valid.
    """
    root = paths.root(Path(folder))
    hold_flow_lease(root)
    params = read_params(root)
    found = find_slots(slots or root / paths.STATE / "slots", threads=params.training.threads)
    project = Project(root, found, limits, queues={} if slots else params.queues)
    try:
        yield project
    except BaseException:
        project.stop.set()
        raise
    finally:
        project.live.close()


def promotes(project: Project) -> bool:
    """Whether a successful run ends with a promotion."""
    return read_params(project.root).registry.promote
