"""The live worker: a process that reads epochs of running trainings on its standard input and logs them to MLflow.

It is a process of its own for three reasons: MLflow takes seconds to import, it changes the current
folder and the environment where the store is local, and a request may block for a long time. It
ends when its input ends, so it outlives a killed parent and marks the parent's trainings as killed.
Each line of its output is a message for the user.
"""

import json
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from espalier.errors import EspalierError, TryAgain, reason_of
from espalier.registry.connection import hold_lease, remove_lease
from espalier.registry.live.live_logger import LiveLogger
from espalier.registry.live.live_runs import HEARTBEAT_SECONDS
from espalier.settings.secrets import hide_in_tracebacks, without_secrets

_WRITE_SECONDS = 1.0  # between two writes: each holds the project's lock for some milliseconds
_RETRY_SECONDS = 60.0  # until a store that was unavailable is tried again

_Lines = queue.SimpleQueue[str | None]  # None is the end of the input


class _Worker:
    """The loop that reads lines and writes to the store."""

    def __init__(self, logger: LiveLogger, lines: _Lines) -> None:
        self._logger, self._lines = logger, lines
        self._next_write = 0.0  # at once: the runs of crashed processes are reconciled first
        self._last_write = 0.0
        self._is_store_away = False
        self._has_warned = False

    def run(self) -> bool:
        """Log all lines until the end of the input.

        A store that is unavailable costs one message and is tried again later. Any other failure is
        reported and ends the worker.

        Returns:
            Whether the store has the final status of all runs.
        """
        has_ended = False
        while not has_ended:
            lines = self._read_lines()
            for line in lines:
                _on_line(self._logger, line)
            has_ended = None in lines
            is_due = time.monotonic() >= self._next_write
            if self._is_store_away and (has_ended or not is_due):
                continue
            if not self._write():
                return False
        return not self._is_store_away

    def _read_lines(self) -> list[str | None]:
        """Wait for a line until the next write is due, and for further lines until the write interval is over."""
        lines: list[str | None] = []
        not_before = self._last_write + _WRITE_SECONDS
        with suppress(queue.Empty):
            lines.append(self._lines.get(timeout=_seconds_until(self._next_write)))
            while lines[-1] is not None:
                lines.append(self._lines.get(timeout=_seconds_until(not_before)))
        return lines

    def _write(self) -> bool:
        """Write to the store; false after a failure that cannot be retried."""
        try:
            self._logger.write()
            self._is_store_away = False
        except TryAgain as error:
            self._is_store_away = True
            if not self._has_warned:
                _report(error)
            self._has_warned = True
        except Exception as error:
            _report(error)
            if not isinstance(error, EspalierError | ImportError):
                raise
            return False
        self._last_write = time.monotonic()
        self._next_write = self._last_write + self._pause()
        return True

    def _pause(self) -> float:
        if self._is_store_away:
            return _RETRY_SECONDS
        if self._logger.is_training:
            return HEARTBEAT_SECONDS
        return threading.TIMEOUT_MAX / 2


def _seconds_until(moment: float) -> float:
    return max(0.0, moment - time.monotonic())


def _on_line(logger: LiveLogger, line: str | None) -> None:
    if line is None:
        logger.on_disconnect()
        return
    with suppress(ValueError, KeyError, TypeError):  # an unreadable line is dropped
        message = json.loads(line)
        if "ended" in message:
            logger.on_end(message["model"], message["ended"])
        else:
            logger.on_epoch(message)


def _report(error: Exception) -> None:
    reason = without_secrets(reason_of(error))
    sys.stdout.write(f"no live curves in MLflow: {reason}\n")
    sys.stdout.flush()


def _main() -> None:
    os.nice(10)  # the trainings have priority
    hide_in_tracebacks()
    root, lines = Path(sys.argv[1]), _Lines()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    with hold_lease(root) as lease:
        if _Worker(LiveLogger(root, lease), lines).run():
            remove_lease(root, lease)


if __name__ == "__main__":
    _main()
