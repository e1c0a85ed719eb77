"""The process that shows trainings live: it is told of them line by line on its input, and ends when that ends.

It is a process of its own, because MLflow takes seconds to import, changes its process's folder and environment where
the store is local, and may keep who calls it waiting. And it outlives whoever started it, if only to say that the
trainings were killed. A line on its output is for the user.
"""

import json
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from espalier.errors import EspalierError, TryAgain
from espalier.registry.connection.leases import forget, owning
from espalier.registry.live.live_logger import Writer
from espalier.registry.live.live_runs import BEAT

_APART = 1.0  # seconds between two writes: each holds the project's lock for some milliseconds
_AWAY = 60.0  # seconds until a store that was away is tried again

_Lines = queue.SimpleQueue[str | None]


def relay(writer: Writer, lines: _Lines) -> bool:
    """Write what comes, until the end: None.

    A store that is away costs one sentence, and is tried again later; any other failure is told and ends it.

    Returns:
        Whether the store knows how everything ended.
    """
    ended = told = away = False
    due = written = 0.0  # at once: what the dead left is settled first
    while not ended:
        heard = _take(lines, due, written + _APART)
        ended = None in heard
        for line in heard:
            _hear(writer, line)
        now = time.monotonic()
        if away and (ended or now < due):
            continue
        try:
            writer.write()
            away = False
        except TryAgain as error:
            away = True
            if not told:
                _tell(error)
            told = True
        except Exception as error:
            _tell(error)
            if not isinstance(error, EspalierError | ImportError):
                raise
            return False
        written = time.monotonic()
        due = written + (_AWAY if away else BEAT if writer.running else threading.TIMEOUT_MAX / 2)
    return not away


def _take(lines: _Lines, due: float, not_before: float) -> list[str | None]:
    """Wait for a line as long as nothing else is due, and for those that follow it closely."""
    taken: list[str | None] = []
    with suppress(queue.Empty):
        taken.append(lines.get(timeout=max(0.0, due - time.monotonic())))
        while taken[-1] is not None:
            taken.append(lines.get(timeout=max(0.0, not_before - time.monotonic())))
    return taken


def _hear(writer: Writer, line: str | None) -> None:
    if line is None:
        writer.abandon()
        return
    with suppress(ValueError, KeyError, TypeError):  # what we cannot read is not worth a word
        told = json.loads(line)
        if "ended" in told:
            writer.end(told["model"], told["ended"])
        else:
            writer.hear(told)


def _tell(error: Exception) -> None:
    sys.stdout.write(
        f"no live curves in MLflow: {' '.join(str(error).split()) or type(error).__name__}\n"
    )
    sys.stdout.flush()


def _main() -> None:
    os.nice(10)  # before what trains
    root, lines = Path(sys.argv[1]), _Lines()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    with owning(root) as owner:
        if relay(Writer(root, owner), lines):
            forget(root, owner)


if __name__ == "__main__":
    _main()
