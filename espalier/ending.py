"""The end of a process: as Python ends it, without taking down the interpreter."""

import atexit
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

_CLOSED = (AttributeError, ValueError)  # of a stream that was closed here, or before the start
_is_ending = False  # set at the first interrupt, or the end of the command
_LOST_OUTPUT = 120  # Python's own status of a process whose output cannot be flushed


def run_to_end(command: Callable[[], object]) -> NoReturn:
    """Call a command, and end this process with its status.

    Python would take down the interpreter then, which needs half a second of the processor after an import of
    torch, and more than one after an evaluation; the system frees the memory anyway. Threads are waited for,
    exit handlers called and streams flushed before, as Python does.
    """
    gc.freeze()  # `paused_collector` keeps modules frozen then
    status = _status_of(command)
    _ignore_interrupts()
    threading._shutdown()  # type: ignore[attr-defined]  # as multiprocessing ends its forks
    atexit._run_exitfuncs()
    is_written = _flush()
    os._exit(status if status or is_written else _LOST_OUTPUT)


def interrupt_once() -> None:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and ignore later ones.

    The end of a command stops processes and waits for them: a second Ctrl-C must not leave them behind.
    """
    for sign in (signal.SIGINT, signal.SIGTERM):
        # a script's commands in the background ignore SIGINT
        if signal.getsignal(sign) is not signal.SIG_IGN:
            signal.signal(sign, _interrupt)


def _interrupt(_sign: int, _frame: object) -> None:
    global _is_ending
    if not _is_ending:
        _is_ending = True
        raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    """Ignore what would raise an exception outside the command; SIGTERM still ends a process without a handler."""
    global _is_ending
    _is_ending = True
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _flush() -> bool:
    """Flush the streams; whether the output was written, as it is not to a full disk."""
    with suppress(OSError, *_CLOSED):
        sys.stderr.flush()
    try:
        sys.stdout.flush()
    except OSError:
        return False
    except _CLOSED:
        pass
    return True


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
