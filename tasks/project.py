"""The shared state of the tasks of one run: the project's folder, slots, time limits, and the stop flag."""

import threading
from collections.abc import Iterator
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
        live: live metrics of the run's trainings.
    """

    root: Path
    slots: tuple[Slot, ...]
    limits: TimeLimits
    stop: threading.Event = field(default_factory=threading.Event, compare=False)
    live: LiveMetrics = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", LiveMetrics(self.root))

    @property
    def locks(self) -> Path:
        """The folder of the locks of slots and stages."""
        return self.root / paths.STATE / "slots"


@contextmanager
def open_project(folder: str, limits: TimeLimits) -> Iterator[Project]:
    """The project that contains `folder`. Its tasks stop when the block ends by an exception.

    Tasks run in threads, which no signal reaches: Ctrl-C, SIGTERM and cancellation arrive in the
    main thread only.

    Raises:
        BadInput: if there is no project, or `params.yaml` is not valid.
    """
    root = paths.root(Path(folder))
    hold_flow_lease(root)
    threads = read_params(root).training.threads
    slots = find_slots(root / paths.STATE / "slots", threads=threads)
    project = Project(root, slots, limits)
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
