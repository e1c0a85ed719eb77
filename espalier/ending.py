"""The end of a process: as Python ends it, without taking down the interpreter."""

import atexit
import gc
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn


def run_to_end(command: Callable[[], object]) -> NoReturn:
    """Call a command, and end this process with its status.

    Python would take down the interpreter then, which needs half a second of the processor after an import of
    torch, and more than one after an evaluation; the system frees the memory anyway. Threads are waited for,
    exit handlers called and streams flushed before, as Python does.
    """
    gc.freeze()  # `paused_collector` keeps modules frozen then
    status = _status_of(command)
    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its forks
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _status_of(command: Callable[[], object]) -> int:
    """The exit status of a command; what it raises is printed."""
    try:
        command()
    except SystemExit as ending:
        if isinstance(ending.code, str):
            sys.stderr.write(f"{ending.code}\n")
            return 1
        return int(ending.code or 0)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)  # it hides secrets
        return 1
    return 0
