"""Locks on files, which the system releases when the processes that hold them end.

`flock`, because a stage must inherit the lock of its slot, and filelock hides its handle.
"""

import fcntl
import os
from pathlib import Path

from espalier.holders import Holder


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
