"""The processors of this machine that this process may use."""

import os


def available_processors() -> int:
    """The number of processors on which the system lets this process run; at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
