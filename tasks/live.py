"""Trainings seen live in MLflow: what stages print of their epochs, handed on to a process that talks to the store.

It is started with the first epoch. Nothing waits for it, and nothing depends on it: what it cannot take is dropped.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from espalier import paths
from espalier.errors import EspalierError, Stopped
from espalier.registry.connection.leases import dead
from espalier.registry.live.live_runs import FAILED, FINISHED, KILLED
from tasks.environment import stage_environment
from tasks.reporting import Tell

_EPOCH = {"model", "step", "epoch", "epochs"}  # what a line about an epoch has, beside its figures
_LAST_WORDS = 10.0  # seconds it may take to write what it has heard, when the run is over
LOG = "live.log"


class Live:
    """The trainings of one run, for whoever looks at MLflow meanwhile."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # stages are in threads of their own

    def settle(self, tell: Tell) -> None:
        """Let what a run left that was killed be marked so, if there is any."""
        with suppress(OSError):
            if dead(self._root):
                self._send(b"", tell)

    def listener(self, label: str, tell: Tell) -> Callable[[str], None]:
        """A function that takes each line that the stage `label` prints, and hands on those about its epochs."""

        def hear(line: str) -> None:
            if line.startswith("{"):
                with suppress(ValueError):
                    row = json.loads(line)
                    if row.keys() >= _EPOCH and row["model"] == label:
                        self._send(line.encode(), tell)

        return hear

    def end(self, label: str, error: EspalierError | None = None) -> None:
        """Say how an attempt at a stage ended."""
        status = KILLED if isinstance(error, Stopped) else FAILED if error else FINISHED
        if self._process:
            self._send(json.dumps({"model": label, "ended": status}).encode())

    def close(self) -> None:
        """The run is over."""
        with self._lock:
            process, self._process, self._closed = self._process, None, True
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:  # the next run settles what it left
            process.kill()
            process.wait()

    def _send(self, line: bytes, tell: Tell | None = None) -> None:
        with self._lock:
            if self._process is None and tell and not self._closed:
                try:
                    self._process = self._start(tell)
                except OSError as error:
                    self._closed = True
                    tell(f"no live curves in MLflow: {error}")
            if self._process is not None:
                assert self._process.stdin is not None
                # Whole or not at all, as it is shorter than PIPE_BUF; a pipe that is full or broken takes nothing.
                with suppress(OSError):
                    os.write(self._process.stdin.fileno(), line + b"\n")

    def _start(self, tell: Tell) -> subprocess.Popen[bytes]:
        log = self._root / paths.STATE / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "espalier.registry.live.live_worker", str(self._root)],
                cwd=self._root,
                env=stage_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,  # Ctrl-C is not for it: it says how the others ended
            )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        threading.Thread(target=_listen, args=(process, tell), daemon=True).start()
        return process


def _listen(process: subprocess.Popen[bytes], tell: Tell) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        tell(line.decode(errors="replace").rstrip())
