"""Live metrics of trainings: forward the epochs that stages print to the live-metrics worker.

The worker is a process that talks to the tracking store. It starts with the first epoch. Nothing
waits for it, and nothing depends on it: lines that it cannot take are dropped.
"""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from espalier import paths
from espalier.errors import EspalierError, Stopped
from espalier.registry.connection import expired_leases
from espalier.registry.live import FAILED, FINISHED, KILLED, worker_command
from espalier.tasks.environment import stage_environment
from espalier.tasks.reporting import ReportLine

_EPOCH = {"model", "step", "epoch", "epochs"}  # keys of a line about an epoch, besides its metrics
_CLOSING = 10.0  # seconds that the worker may take to write its last lines
LOG = "live.log"


class LiveMetrics:
    """The live metrics of one run."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._lock = threading.Lock()  # stages run in threads

    def reconcile(self, report: ReportLine) -> None:
        """Start the worker if a killed run left unfinished live runs; it marks them as killed."""
        with suppress(OSError):
            if expired_leases(self._root):
                self._send(b"", report)

    def listener(self, label: str, report: ReportLine) -> Callable[[str], None]:
        """A function that takes each line of the stage `label`, and forwards those of its epochs."""

        def on_line(line: str) -> None:
            if not line.startswith("{"):
                return
            with suppress(ValueError):
                row = json.loads(line)
                if row.keys() >= _EPOCH and row["model"] == label:
                    self._send(line.encode(), report)

        return on_line

    def end(self, label: str, error: EspalierError | None = None) -> None:
        """Forward how an attempt at a stage ended."""
        status = KILLED if isinstance(error, Stopped) else FAILED if error else FINISHED
        if self._process:
            self._send(json.dumps({"model": label, "ended": status}).encode())

    def close(self) -> None:
        """Stop the worker after it has handled its lines."""
        with self._lock:
            process, self._process, self._closed = self._process, None, True
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_CLOSING)
        except subprocess.TimeoutExpired:  # the next run reconciles what it left
            process.kill()
            process.wait()

    def _send(self, line: bytes, report: ReportLine | None = None) -> None:
        with self._lock:
            if self._process is None and report and not self._closed:
                self._process = self._start(report)
            if self._process is not None:
                assert self._process.stdin is not None
                # atomic, because it is shorter than PIPE_BUF; a full or broken pipe takes nothing
                with suppress(OSError):
                    os.write(self._process.stdin.fileno(), line + b"\n")

    def _start(self, report: ReportLine) -> subprocess.Popen[bytes] | None:
        """Start the worker; None if the system refuses, which is reported once."""
        try:
            process = self._spawn()
        except OSError as error:
            self._closed = True
            report(f"no live curves in MLflow: {error}")
            return None
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        threading.Thread(target=_forward, args=(process, report), daemon=True).start()
        return process

    def _spawn(self) -> subprocess.Popen[bytes]:
        log = self._root / paths.STATE / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            return subprocess.Popen(
                worker_command(self._root),
                cwd=self._root,
                env=stage_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,  # Ctrl-C must not stop it: it records how stages ended
            )


def _forward(process: subprocess.Popen[bytes], report: ReportLine) -> None:
    """Report the worker's output to the user."""
    assert process.stdout is not None
    for line in process.stdout:
        report(line.decode(errors="replace").rstrip())
