"""Locks on files, which the system releases when the processes that hold them end.

`flock`, because a stage must inherit the lock of its slot, and filelock hides its handle.
"""

import fcntl
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path

from espalier.errors import Notice, TryAgain
from espalier.holders import Holder, read_holder

_POLL = 0.1  # seconds between two attempts
_WORTH_A_NOTICE = 60.0  # seconds of waiting


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Lock a file if it is free.

    Args:
        path: the file; it is made if need be.
        shared: whether others may hold the lock too, if they share it.

    Returns:
        The handle, which holds the lock until it is closed in every process that has it; None if another
        process holds it.
    """
    return _lock(path, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)


def take_lock(path: Path, *, shared: bool = False) -> int:
    """Lock a file, and wait for it without limit; for locks that are held for a short time.

    Args:
        path: the file; it is made if need be.
        shared: whether others may hold the lock too, if they share it.

    Returns:
        The handle.
    """
    handle = _lock(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
    assert handle is not None
    return handle


@contextmanager
def hold_in_turn(path: Path, shown: Path, limit: float) -> Iterator[None]:
    """Hold the lock on a file while the block runs; wait for it as long as other processes take turns.

    The limit is that of one holder, however many wait: each records itself in the file.

    Args:
        path: the file; it is made if need be.
        shown: its path for messages.
        limit: seconds after which a process that holds the lock is taken to hang.

    Raises:
        TryAgain: if one process has held it for longer.
    """
    former, begun = read_holder(path), time.monotonic()
    since, notice_at = begun, begun + _WORTH_A_NOTICE
    while (handle := try_lock(path)) is None:
        holder, now = read_holder(path), time.monotonic()
        if holder != former:
            former, since = holder, now
        found = f"found it held by {holder or 'another process'}"
        if now - since > limit:
            raise TryAgain(
                f"Expected {shown} to be free within {limit:.0f} s; {found} all the time."
            )
        if now > notice_at:
            notice_at = inf
            warnings.warn(f"Expected {shown} to be free; {found}: waiting.", Notice, stacklevel=4)
        time.sleep(_POLL)
    try:
        with suppress(OSError):  # a full disk keeps no record, and excludes others all the same
            record_holder(handle)
        yield
    finally:
        os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file, shared or not."""
    handle = try_lock(path)
    if handle is None:
        return True
    os.close(handle)
    return False


def record_holder(handle: int) -> None:
    """Write into a locked file that this process holds it."""
    record = Holder.this_process().to_json().encode()
    os.ftruncate(handle, 0)
    os.pwrite(handle, record, 0)


def _lock(path: Path, how: int) -> int | None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(handle, how)
    except BlockingIOError:
        os.close(handle)
        return None
    except BaseException:
        os.close(handle)
        raise
    return handle
