"""A command in a session of its own: heard line by line, stopped with everything it started, never left behind."""

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

_TICK = 0.2  # seconds between two looks at the clock and at the wish to stop
_AFTER_KILL = 5.0  # seconds that the kernel may take to end a killed process


def run(
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    hear: Callable[[str], None],
    stop: threading.Event,
    timeout: float | None = None,
    grace: float = 20.0,
    handles: tuple[int, ...] = (),
) -> int:
    """Run a command to its end, and give each line that it prints to `hear`.

    However this function ends, nothing of what the command started is left: the whole session gets SIGTERM, the
    grace to write its checkpoints, and then SIGKILL.

    Returns:
        The exit status of the command; negative if a signal ended it.

    Raises:
        Stopped: If `stop` was set.
        TimeoutError: If it ran for longer than `timeout` seconds.
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
    output = _Lines(process, hear)
    try:
        deadline = None if timeout is None else time.monotonic() + timeout
        while process.poll() is None:
            output.listen(_TICK)
            if stop.is_set():
                raise Stopped("The run was stopped.")
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError
        output.listen(0)
        return process.returncode
    finally:
        _end(process, output, grace)
        output.close()


class _Lines:
    """The lines of a process, as they come."""

    def __init__(self, process: subprocess.Popen[bytes], hear: Callable[[str], None]) -> None:
        assert process.stdout is not None
        self._pipe = process.stdout
        self._hear = hear
        self._rest = b""
        self._open = True
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)

    def listen(self, seconds: float) -> None:
        """Hear what comes within some time; returns as soon as nothing is left to be read."""
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
                self._hear(_text(line))

    def close(self) -> None:
        """Hear the last line, if nothing ended it."""
        if self._rest:
            self._hear(_text(self._rest))
        self._selector.close()
        self._pipe.close()


def _text(line: bytes) -> str:
    return line.decode(errors="replace").rsplit("\r", 1)[-1].rstrip() if line.strip() else ""


def _end(process: subprocess.Popen[bytes], output: _Lines, grace: float) -> None:
    # The command may be gone and what it started not: DVC killed leaves its stage running. So ask the whole group.
    for sign, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, _AFTER_KILL)):
        deadline = time.monotonic() + patience
        if not _signal(process, sign):
            return
        while time.monotonic() < deadline:
            output.listen(_TICK / 4)  # a full pipe would keep it from ending
            if not _signal(process, None):
                return


def _signal(process: subprocess.Popen[bytes], sign: signal.Signals | None) -> bool:
    """Send a signal to the group (None: send nothing). Returns whether there is anyone left in it."""
    process.poll()  # a process that nobody waits for still counts as there
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, sign or 0)
        return True
    return False
