"""Leases: locks held for the lifetime of a process that works on a run, to tell a crash from slowness.

A process that logs a run to MLflow takes a lease and writes the lease's id into a tag of the run; the
lease of a flow has the id of its Prefect run. The lease
is a locked file in the project, `.espalier/locks/KIND/ID.lock`; the operating system drops the lock
when the process ends, however it ends. Another process that finds an unfinished run
tries the lock:

| lock file | lock | the process |
|---|---|---|
| exists | held | is at work, however slow it is |
| exists | free | crashed: the run will not be finished |
| missing | | belongs to another project or machine: its last heartbeat decides, see `is_active` |
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from espalier.paths import STATE

Kind = Literal["live", "registering", "flows"]  # the runs that the process works on
EXPIRES_AFTER = 600.0  # seconds without a heartbeat, for leases whose lock is not in this project


@contextmanager
def hold_lease(root: Path, kind: Kind = "live", own: str = "") -> Iterator[str]:
    """Hold a new lease while the block runs.

    The lock file stays after the block, so that a crash can be detected; `remove_lease` deletes it
    once nothing of the writer is left to reconcile.

    Args:
        root: The project.
        kind: The runs that the process writes.
        own: Id of the lease; by default a new one.

    Yields:
        The id of the lease; no other lease ever has it.
    """
    lease = own or uuid.uuid4().hex
    path = _path(root, lease, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield lease


def is_held(root: Path, lease: str, kind: Kind = "live") -> bool | None:
    """Whether the process of a lease is running; None if this project has no lock file of the lease."""
    path = _path(root, lease, kind)
    if not _is_id(lease) or not path.is_file():
        return None
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def is_active(root: Path, lease: str, last_heartbeat: float, kind: Kind = "live") -> bool:
    """Whether the process of a lease is still writing.

    The lock decides where this project has it. The lease of another machine is active if its last
    heartbeat is less than `EXPIRES_AFTER` seconds old.

    Args:
        root: The project.
        lease: The id of the lease.
        last_heartbeat: Seconds since 1970.
        kind: The runs that the process writes.
    """
    held = is_held(root, lease, kind)
    if held is None:
        return time.time() - last_heartbeat < EXPIRES_AFTER
    return held


def expired_leases(root: Path, kind: Kind = "live") -> tuple[str, ...]:
    """Leases of this project whose process ended without removing them: it crashed."""
    leases = [path.stem for path in _folder(root, kind).glob("*.lock")]
    return tuple(lease for lease in leases if is_held(root, lease, kind) is False)


def remove_lease(root: Path, lease: str, kind: Kind = "live") -> None:
    """Delete the lock file of a lease whose runs are reconciled; a text that is no id is ignored."""
    if _is_id(lease):
        _path(root, lease, kind).unlink(missing_ok=True)


def _is_id(lease: str) -> bool:
    """Whether a text from a tag can be an id; a path with separators would leave the folder of the locks."""
    return lease.isalnum()


def _path(root: Path, lease: str, kind: Kind) -> Path:
    return _folder(root, kind) / f"{lease}.lock"


def _folder(root: Path, kind: Kind) -> Path:
    return root / STATE / "locks" / kind
