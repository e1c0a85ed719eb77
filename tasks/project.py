"""What every task of one run shares: where the project is, its slots, how patient to be, and the wish to stop."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from espalier import paths
from espalier.params import read_params
from tasks.live import Live
from tasks.slots import Slot, find_slots


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, in seconds.

    Attributes:
        delay: Before the first retry; it doubles with each further one, and varies by a quarter, so that runs that
            failed together do not come back together.
        timeout: For one attempt at one stage; None lets it take as long as it takes.
        grace: Between asking a stage to stop and killing it. A Prefect worker kills a cancelled flow after 30 s.
    """

    delay: float = 10.0
    timeout: float | None = None
    grace: float = 20.0


@dataclass(frozen=True)
class Project:
    """A project in the hands of one run."""

    root: Path
    slots: tuple[Slot, ...]
    patience: Patience
    stop: threading.Event = field(default_factory=threading.Event, compare=False)
    live: Live = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "live", Live(self.root))

    @property
    def locks(self) -> Path:
        """The folder of the locks of slots and stages."""
        return self.root / paths.STATE / "slots"


@contextmanager
def open_project(folder: str, patience: Patience) -> Iterator[Project]:
    """Find the project around `folder`, and tell its tasks to stop when the block ends by an exception.

    Tasks run in threads, which no signal reaches: Ctrl-C, SIGTERM and cancellation arrive in the main thread alone.

    Raises:
        BadInput: If there is no project, or `params.yaml` is not as it should be.
    """
    root = paths.root(Path(folder))
    slots = find_slots(root / paths.STATE / "slots", threads=read_params(root).training.threads)
    project = Project(root, slots, patience)
    try:
        yield project
    except BaseException:
        project.stop.set()
        raise
    finally:
        project.live.close()


def promotes(project: Project) -> bool:
    """Whether a run ends with a promotion, if all of it succeeded."""
    return read_params(project.root).registry.promote
