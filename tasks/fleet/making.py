"""The worker's side: fetch the inputs of a stage, make it or find its result, and push the outputs."""

import platform
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from espalier import __version__
from espalier.errors import BadInput, Stopped, TryAgain
from espalier.paths import STATE
from espalier.tasks.commands import call_dvc
from espalier.tasks.dvc_repo import locked_repo
from espalier.tasks.fleet.lock_entries import read_entries
from espalier.tasks.fleet.remote import Remote, naming_remote
from espalier.tasks.fleet.request import Request, Result
from espalier.tasks.graph import Stage, load_stage, overlap
from espalier.tasks.project import Project
from espalier.tasks.reporting import ReportLine
from espalier.tasks.reproduce import attempt
from espalier.tasks.slots import device_name
from espalier.waiting import Reminder

_PATIENCE = 3600.0  # seconds in which outputs are pushed again and again
_AGAIN = 5.0  # seconds between two tries


def make_or_find(request: Request, project: Project, seconds: float, report: ReportLine) -> Result:
    """Make a stage in a clone of its project, or find its result in DVC's remote.

    Args:
        request: the stage.
        project: the clone.
        seconds: time between two copies of the checkpoints to the remote.
        report: receives lines for the user.

    Raises:
        EspalierError: if the stage failed; its kind says what to do next.
    """
    stage = replace(load_stage(project.root, request.stage), forced=request.forced)
    _pull_inputs(stage, project, report)
    with locked_repo(project.root, Reminder(report)) as repo:
        remote = Remote.of(repo)
        dvc_stage = repo.stage.load_one(str(project.root / "dvc.yaml"), request.stage)
        dvc_stage.save_deps()
        with naming_remote(remote.path):
            found = None if request.forced else remote.find_entry(dvc_stage)
    if found is not None:
        return Result(found, platform.node(), device_name(), executed=False)
    with checkpoints_in_remote(project.root, remote, request.key, seconds, report):
        attempt(stage, project, report)
    insist(lambda: _push(request, project, remote, report), project, report)
    entry = read_entries(project.root)[request.stage]
    return Result(entry, platform.node(), device_name(), executed=True)


def refuse_other_version(request: Request) -> None:
    """Refuse a request of another version of Espalier, whose results would differ.

    Raises:
        BadInput: if the versions differ.
    """
    if request.version != __version__:
        raise BadInput(
            f"{request.stage}: Expected the worker on {platform.node()} to have Espalier "
            f"{request.version}, as the run has; found {__version__}: install the same version."
        )


def insist(push: Callable[[], None], project: Project, report: ReportLine) -> None:
    """Push what was made as soon as the remote answers; another worker would have to make it again.

    Raises:
        Stopped: if the run is stopped meanwhile.
        TryAgain: if the remote does not answer for an hour.
    """
    reminder, deadline = Reminder(report), time.monotonic() + _PATIENCE
    while True:
        try:
            push()
            return
        except TryAgain as error:
            if time.monotonic() > deadline:
                raise
            reminder.say(f"waiting: {error}")
        if project.stop.wait(_AGAIN):
            raise Stopped("The run was stopped before its outputs were in DVC's remote.")


def _push(request: Request, project: Project, remote: Remote, report: ReportLine) -> None:
    call_dvc(project, report, "push", request.stage)
    with locked_repo(project.root, Reminder(report)) as repo, naming_remote(remote.path):
        remote.push_entry(repo.stage.load_one(str(project.root / "dvc.yaml"), request.stage))
        remote.remove_checkpoints(request.key)


@contextmanager
def checkpoints_in_remote(
    root: Path, remote: Remote, key: str, seconds: float, report: ReportLine
) -> Iterator[None]:
    """Continue from the checkpoints of the remote, and copy new ones there while the block runs.

    Args:
        root: root folder of the clone.
        remote: DVC's remote.
        key: key of the stage.
        seconds: time between two copies.
        report: receives a sentence if checkpoints were fetched or could not be copied.
    """
    folder, ended = root / STATE / "checkpoints", threading.Event()
    with naming_remote(remote.path):
        if remote.fetch_checkpoints(folder, key):
            report("continues from the checkpoint of another worker")

    def copy() -> None:
        try:
            with naming_remote(remote.path):
                remote.push_checkpoints(folder, key)
        except TryAgain as error:  # the training goes on without
            report(f"warning: no copy of the checkpoint: {error}")

    def copy_again_and_again() -> None:
        while not ended.wait(seconds):
            copy()

    thread = threading.Thread(target=copy_again_and_again, daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        ended.set()
        thread.join()
        copy()  # a stopped stage has just written one
        raise
    finally:
        ended.set()
        thread.join()


def _pull_inputs(stage: Stage, project: Project, report: ReportLine) -> None:
    """Pull exactly the files that a stage reads."""
    targets = {
        inner_path(source, read)
        for source in stage.sources
        for read in stage.reads
        if overlap(Path(source), Path(read))
    }
    if targets:
        names = sorted(str(path.relative_to(project.root)) for path in targets)
        report(f"pulling {', '.join(names)}")
        call_dvc(project, report, "pull", *names)


def inner_path(output: str, dependency: str) -> Path:
    """The inner one of two paths that overlap: a file of an output, or a model in the folder of all models.

    Example:
        >>> inner_path("/p/prepared", "/p/prepared/dataset.json"), inner_path("/p/models/student", "/p/models")
        (PosixPath('/p/prepared/dataset.json'), PosixPath('/p/models/student'))
    """
    return max(Path(output), Path(dependency), key=lambda path: len(path.parts))
