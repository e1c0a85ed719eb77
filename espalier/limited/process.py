"""A process that handles files from elsewhere, as the process that starts it sees it."""

import atexit
import os
import signal
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal, Self

from numpy.typing import NDArray

from espalier.errors import BadInput
from espalier.interpreter import python_module
from espalier.limited.messages import NOTHING, Message, MessagePipe

_START = 120.0  # seconds in which a process has to be ready
_CHILD = f"{__package__}.child"
_BROKEN = (
    EOFError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
)  # of a process that has ended or lies


@dataclass(frozen=True)
class Limits:
    """Limits on each answer of a process.

    Attributes:
        memory: bytes of data that it may have beside those at its start; counted on Linux alone.
        seconds: largest time until the answer.
    """

    memory: int
    seconds: float


class ProcessFailed(Exception):
    """A process gave no answer.

    Attributes:
        cause: `memory` and `seconds` for a limit, `killed` for SIGKILL from elsewhere, `crashed`.
        status: status of a crashed process, negative for the number of a signal.
    """

    def __init__(
        self, cause: Literal["memory", "seconds", "killed", "crashed"], status: int = 0
    ) -> None:
        super().__init__(cause, status)
        self.cause, self.status = cause, status

    @property
    def ending(self) -> str:
        """The way in which a crashed process ended, in words."""
        if self.status < 0:
            return f"signal {signal.Signals(-self.status).name}"
        return f"status {self.status}"


class LimitedProcess:
    """A process that answers requests one after another; close it, or use it as a context.

    Every request is followed by as many calls of `receive` as it has answers. A process that failed
    is of no further use.
    """

    def __init__(self, function: str, *arguments: str) -> None:
        """Start the process; it is ready later.

        Args:
            function: `package.module:name`, called in the process with the arguments; it gives the
                function that answers requests, as `espalier.limited.child` says.
            arguments: texts.
        """
        self.name = (function, *arguments)
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        command = python_module(_CHILD, *self.name)
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing)
        assert self._process.stdin and self._process.stdout  # noqa: PT018 - by Popen
        writes = self._process.stdin.fileno()
        os.set_blocking(writes, False)
        self._pipe = MessagePipe(self._process.stdout.fileno(), writes)
        self._is_ready = False
        self._limits = Limits(0, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def send(self, limits: Limits, array: NDArray[Any] = NOTHING, **fields: object) -> None:
        """Send a request, whose answers take at most the limits each.

        Raises:
            ProcessFailed: if it does not read the request.
        """
        self._limits = limits
        given = {**fields, "memory": limits.memory, "seconds": limits.seconds}
        try:
            self._await_start()
            self._pipe.send(given, array, time.monotonic() + _START)
        except _BROKEN as error:
            raise self._failure(error) from None

    def receive(self) -> Message:
        """The fields and the array of the next answer.

        Raises:
            ProcessFailed: if there is none within the limits.
            BadInput: if the function in the process raised it, or another error.
            OSError: likewise, for errors of the disk.
        """
        try:
            deadline = time.monotonic() + self._limits.seconds
            fields, array = self._pipe.receive(deadline)
        except _BROKEN as error:
            raise self._failure(error) from None
        if "errno" in fields:
            number = int(fields["errno"])
            raise OSError(number, os.strerror(number), fields["file"])
        if "reason" in fields:
            raise BadInput(str(fields["reason"]))
        if fields.get("request exceeded"):
            raise ProcessFailed("memory")
        return fields, array

    def _await_start(self) -> None:
        """Wait until the process has imported its function; that is no time of a file."""
        if not self._is_ready:
            self._pipe.receive(time.monotonic() + _START)
            self._is_ready = True

    def _failure(self, error: Exception) -> ProcessFailed:
        expired = isinstance(error, TimeoutError)
        lies = isinstance(error, ValueError | TypeError | KeyError)
        if expired or lies:
            self._process.kill()
        status = self._process.wait()
        if expired or status == -signal.SIGALRM:
            return ProcessFailed("seconds")
        if status == -signal.SIGABRT:  # libraries abort where they do not expect to get no memory
            return ProcessFailed("memory")
        if status == -signal.SIGKILL and not lies:
            return ProcessFailed("killed")
        return ProcessFailed("crashed", status)


_IDLE: dict[tuple[str, ...], list[LimitedProcess]] = defaultdict(list)


def borrow(function: str, *arguments: str) -> LimitedProcess:
    """A process of a function that is free, or a new one; `give_back` or close it."""
    idle = _IDLE[(function, *arguments)]
    while idle:
        process = idle.pop()
        if process.is_running:
            return process
        process.close()
    return LimitedProcess(function, *arguments)


def give_back(process: LimitedProcess) -> None:
    """Keep a process that has given all its answers, so that the next file needs no new one."""
    _IDLE[process.name].append(process)


@atexit.register
def _close_idle() -> None:
    for processes in _IDLE.values():
        while processes:
            processes.pop().close()


os.register_at_fork(after_in_child=_IDLE.clear)  # two processes would read the same answers
