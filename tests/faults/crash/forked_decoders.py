"""Decoding processes that are forked from one with all imports, in place of a new Python for each.

A killed stage starts as many decoders as its repetition, which would take nearly all the time of a campaign.
"""

import os
import signal
import subprocess
import sys
from typing import Any
from unittest.mock import patch

from espalier.limited import child

_HANDLES = 4096  # all that a stage may have open
_DECODERS = "espalier.decoders."


class Forked:
    """A process of `espalier.limited`, with that part of the face of `Popen` that is used there."""

    def __init__(self, command: list[str]) -> None:
        reads, self._writes = os.pipe()
        self._reads, writes = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become_child(command, reads, writes)
        os.close(reads)
        os.close(writes)
        self.stdin, self.stdout = os.fdopen(self._writes, "wb", 0), os.fdopen(self._reads, "rb", 0)
        self._status: int | None = None

    def poll(self) -> int | None:
        """The status of a process that has ended."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int | None:
        """The status of the process, at its end."""
        return self._wait(0)

    def kill(self) -> None:
        """End the process."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        if self._status is None:
            pid, status = os.waitpid(self.pid, options)
            self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status


def _become_child(command: list[str], reads: int, writes: int) -> None:
    """Answer the requests of the parent in this process, and end."""
    os.dup2(reads, 0)
    os.dup2(writes, 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.closerange(3, _HANDLES)  # among them the other end of these pipes, and the runner's
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    sys.argv = command[2:]
    try:
        child._main()
    finally:
        os._exit(1)


def install() -> None:
    """Let `espalier.limited` fork its decoders in this process and its forks; others start as always."""
    popen = subprocess.Popen

    def start(command: list[str], **named: Any) -> Any:
        is_decoder = command[3].startswith(_DECODERS)
        return Forked(command) if is_decoder else popen(command, **named)

    patch("espalier.limited.process.subprocess", _Subprocess(start)).start()


class _Subprocess:
    """The names of `subprocess` that `espalier.limited.process` uses."""

    PIPE, DEVNULL = subprocess.PIPE, subprocess.DEVNULL

    def __init__(self, start: Any) -> None:
        self.Popen = start
