"""The worker's side: leftovers in the home of the workers of a machine.

| leftover | stale when |
|---|---|
| clones of stages that failed or were killed | unchanged for `unused_days` |
| outputs of teachers | unchanged for `unused_days`; above `bank_bytes`, the oldest first |

The bounds are the section `sweep` of the project whose stage is made. DVC's cache and the mirrors stay.
"""

import os
import time
from pathlib import Path

from espalier.locks import is_locked, try_lock
from espalier.params.sections import Sweep
from espalier.tasks.fleet.workspace import Home
from espalier.upkeep.sweep import Leftover, children, find_in_bank, is_unused, remove, size_of


def sweep_home(home: Home, bounds: Sweep, own: Path | None = None, now: float | None = None) -> int:
    """Remove the stale leftovers of a home; returns the bytes that are free now.

    A clone stays while a stage is made in it, and the outputs of teachers while any other stage is made.

    Args:
        home: the home.
        bounds: age and size above which leftovers are stale.
        own: clone of the stage that the calling process makes, or a folder in it.
        now: seconds since 1970; by default the time of the call.
    """
    now = time.time() if now is None else now
    others = [
        path
        for path in children(home.path / "stages")
        if own is None or not own.is_relative_to(path.with_suffix(""))
    ]
    freed = sum(_sweep_clone(path, bounds, now) for path in others if path.is_dir())
    locks = [path for path in (*others, *children(home.slots)) if path.is_file()]
    if not any(is_locked(path) for path in locks):
        freed += remove(find_in_bank(home.path / "bank", bounds, now))
    return freed


def _sweep_clone(clone: Path, bounds: Sweep, now: float) -> int:
    """Remove an unused clone; its lock stays, because another worker may be taking it."""
    lock = try_lock(clone.with_suffix(".lock"))
    if lock is None:
        return 0
    try:
        if not is_unused(clone, bounds, now):
            return 0
        return remove([Leftover(clone, "clone of a stage that failed", size_of(clone))])
    finally:
        os.close(lock)
