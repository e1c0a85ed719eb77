"""The lock under which one process at a time makes a model.

A `dvc repro` that was killed leaves the command of its stage running; the next `dvc repro` starts a
second one, which waits for the first. The system releases the lock when its holder exits.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from filelock import FileLock, Timeout

from espalier import files
from espalier.errors import Stopped
from espalier.holders import Holder, read_holder
from espalier.paths import STATE
from espalier.waiting import Reminder

_POLL = 0.5  # seconds between two attempts


@contextmanager
def hold_stage(root: Path, name: str, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock on a model while the block runs.

    Args:
        root: the project.
        name: name of the model.
        report: receives a sentence while another process is waited for.

    Raises:
        Stopped: if SIGTERM arrives meanwhile.
    """
    folder = root / STATE / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock, record = FileLock(folder / f"{name}.lock"), folder / f"{name}.json"
    reminder = Reminder(report)
    with stopped_by_sigterm(name):
        while not _acquired(lock):
            reminder.say(f"{name}: waiting: {_made_by(read_holder(record))}")
    try:
        files.write(record, Holder.this_process().to_json())
        yield
    finally:
        record.unlink(missing_ok=True)
        lock.release()


def _made_by(holder: Holder | None) -> str:
    """A clause about the process that makes a model."""
    return f"another process is making it{f' ({holder})' if holder else ''}"


def _acquired(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=_POLL)
    except Timeout:
        return False
    return True


@contextmanager
def stopped_by_sigterm(name: str) -> Iterator[None]:
    """SIGTERM ends the block at once; outside the main thread signals are left to the caller."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> NoReturn:
        del number, frame
        raise Stopped(f"{name}: The command was stopped while it waited for another process.")

    former = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        with suppress(TypeError):  # a handler that Python has not set
            signal.signal(signal.SIGTERM, former)
