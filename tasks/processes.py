"""Commands in sessions of their own: read line by line, and stopped with all their children."""

import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from espalier.errors import Stopped
from espalier.settings.secrets import without_secrets

_TICK = 0.2  # seconds between two checks of the clock and of the stop flag
_AFTER_KILL = 5.0  # seconds that the kernel may take to end a killed process


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    on_line: Callable[[str], None],
    stop: threading.Event,
    timeout: float | None = None,
    grace: float = 20.0,
    handles: tuple[int, ...] = (),
) -> int:
    """Run a command to its end.

    No process that the command started is left when this function returns or raises: the session
    gets SIGTERM, `grace` seconds to write checkpoints, and then SIGKILL.

    Args:
        command: program and arguments.
        folder: working directory.
        environment: variables of the process.
        on_line: receives each line of its output.
        stop: set when the command must stop.
        timeout: limit in seconds; None for no limit.
        grace: seconds between SIGTERM and SIGKILL.
        handles: file handles that the process inherits.

    Returns:
        The exit status of the command; negative if a signal ended it.

    Raises:
        Stopped: if `stop` was set.
        TimeoutError: if it ran for longer than `timeout` seconds.
    """
    process = subprocess.Popen(
        list(command),
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=handles,
    )
    output = _Lines(process, on_line)
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        while process.poll() is None:
            output.read(_TICK)
            if stop.is_set():
                raise Stopped("The run was stopped.")
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
        output.read(0)
        return process.returncode
    finally:
        _end(process, output, grace)
        output.close()


class _Lines:
    """The output of a process, line by line."""

    def __init__(self, process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
        assert process.stdout is not None
        self._pipe = process.stdout
        self._on_line = on_line
        self._rest = b""
        self._open = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)

    def read(self, seconds: float) -> None:
        """Read the output of the next seconds; returns as soon as nothing is left to read."""
        if not self._open:
            time.sleep(min(seconds, _TICK / 4))  # the pipe may close before the process ends
            return
        wait = seconds
        while self._open and self._selector.select(wait):
            wait = 0.0
            chunk = os.read(self._pipe.fileno(), 1 << 16)
            self._open = bool(chunk)
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._on_line(_text(line))

    def close(self) -> None:
        """Read the last line, which may lack its end."""
        if self._rest:
            self._on_line(_text(self._rest))
        self._selector.close()
        self._pipe.close()


def _text(line: bytes) -> str:
    """A line as text, without what a carriage return overwrites, and without secrets."""
    if not line.strip():
        return ""
    return without_secrets(line.decode(errors="replace").rsplit("\r", 1)[-1].rstrip())


def _end(process: subprocess.Popen[bytes], output: _Lines, grace: float) -> None:
    # the whole group is signalled: a killed DVC leaves its stage running
    for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _AFTER_KILL)):
        deadline = time.monotonic() + patience
        if not _signal(process, sign):
            return
        while time.monotonic() < deadline:
            output.read(_TICK / 4)  # a full pipe would block it
            if not _signal(process, None):
                return


def _signal(process: subprocess.Popen[bytes], sign: signal.Signals | None) -> bool:
    """Send a signal to the process group (None sends nothing); returns whether a process is left."""
    process.poll()  # reaps a zombie, which would count as running
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sign or 0)
        return True
    return False
