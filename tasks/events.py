"""Prefect events of moved aliases, by the lines that a command adds to the audit of the project.

The library does not know Prefect: the files of the audit are the interface. An event that cannot be
sent is a warning, as with the webhook: the alias has moved.
"""

import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from urllib.parse import unquote

from espalier.errors import BadInput, Notice, reason_of
from espalier.paths import AUDIT
from espalier.registry.promotion import Move, State, read_moves, user

EVENT = "espalier.alias.moved"
_SECONDS = 10.0  # until the events are with the server


@contextmanager
def events_of_moves(root: Path) -> Iterator[None]:
    """Emit an event for each alias that this user moves on this machine while the block runs.

    Args:
        root: the project.
    """
    before = {path: len(moves) for path, moves in _audits(root).items()}
    yield
    moved = {
        path: [move for move in moves[before.get(path, 0) :] if _is_own(move)]
        for path, moves in _audits(root).items()
    }
    if any(moved.values()):
        _emit({_model_of(path): moves for path, moves in moved.items()})


def _audits(root: Path) -> dict[Path, list[Move]]:
    """The moves in each file of the audit; a damaged file has none, since it is named elsewhere."""
    found = {}
    for path in sorted((root / AUDIT).glob("*.jsonl")):
        try:
            found[path] = read_moves(path)
        except BadInput:
            found[path] = []
    return found


def _is_own(move: Move) -> bool:
    """Whether this user moved the alias here; lines of others come from the store, and were events there."""
    return move.state is State.DONE and move.who == f"{user()}@{socket.gethostname()}"


def _model_of(path: Path) -> str:
    """The name of the registered model of a file."""
    return unquote(path.name.removesuffix(".jsonl").partition("@")[0])


def _emit(moved: Mapping[str, list[Move]]) -> None:
    try:
        from prefect.events import emit_event
        from prefect.events.worker import EventsWorker

        for name, moves in moved.items():
            for move in moves:
                emit_event(
                    EVENT,
                    resource={
                        "prefect.resource.id": f"espalier.alias.{name}.{move.alias}",
                        "prefect.resource.name": f"{name}@{move.alias}",
                    },
                    payload={"model": name, **asdict(move)},
                )
        EventsWorker.drain_all(timeout=_SECONDS)
    except Exception as error:
        warnings.warn(
            f"Expected Prefect to accept the event {EVENT}; found: {reason_of(error)}.",
            Notice,
            stacklevel=3,
        )
