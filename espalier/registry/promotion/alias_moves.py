"""Compare-and-swap of an alias: of two concurrent moves one succeeds; a crash leaves the old or the new version.

MLflow sets an alias unconditionally. So each move is recorded in the audit first, and the audit
decides:

1. Append a line with the state `open` to the audit. The store numbers the lines.
2. Close the open lines of crashed processes.
3. If a line with a lower number is still open for the same alias, or the alias is not at the
   expected version: close the own line as `lost` and raise `ConcurrentMoveError`.
4. Set the alias, in one request of the store.
5. Set `previous` to the former version, and close the own line as `done`.
6. Write the finished lines to the file of the audit, see `audit_sync`.

Example: the alias `champion` is at version 1. Machine A moves it to version 2, machine B to version
3, concurrently:

| step | machine A | machine B |
|---|---|---|
| 1 | appends line 7: champion, 1 -> 2, open | appends line 8: champion, 1 -> 3, open |
| 3 | no open line below 7, champion is at 1: go on | line 7 is open: closes line 8 as lost, raises |
| 4 | champion -> 2 | |
| 5 | previous -> 1, closes line 7 as done | |

If B reaches step 3 after A's step 5, line 7 is closed, but champion is at 2 and not at the expected
1: B loses as well.

A crash in steps 1 to 3 leaves an open line and the alias at the old version; the next move closes
that line as `abandoned`. A crash after step 4 leaves an open line and the alias at the new version;
the next move or promotion completes step 5. In a local store, which is locked, every open line of
another process is one of a crash. On a server, a line counts as one of a crash when it is two
minutes old; a move takes seconds. A crash before step 6 leaves the line in the store alone; the next move,
promotion or registration writes it to the file.
"""

import time
from dataclasses import dataclass, replace

from espalier.registry.promotion.audit import Audit, Move, State
from espalier.registry.promotion.audit_sync import note_moves
from espalier.registry.promotion.errors import ConcurrentMoveError
from espalier.registry.versions import Registry

PREVIOUS = "previous"
_CRASHED_AFTER = 120_000  # milliseconds; also covers a process whose store was unavailable


@dataclass(frozen=True)
class AliasMove:
    """A requested move of an alias.

    Attributes:
        alias: Name of the alias.
        expected: Version at which the alias was found; None if it did not exist.
        to: Version to which the alias is moved.
        content: Content hash of the new version.
        former_content: Content hash of the expected version.
        reason: Reason, for the audit.
        run: MLflow's id of the run with the gate report.
        entry: Name of the new version's model in `params.yaml`; empty if it is not known.
        report: SHA-256 of the gate report; empty without one.
    """

    alias: str
    expected: str | None
    to: str
    content: str
    former_content: str | None
    reason: str
    run: str
    entry: str = ""
    report: str = ""


def move_alias(registry: Registry, request: AliasMove) -> Move:
    """Move an alias of the registered model, and point `previous` to its former version.

    Args:
        registry: The registered model.
        request: The requested move.

    Returns:
        The line of the audit, with the state `done`.

    Raises:
        ConcurrentMoveError: If the alias is not at the expected version, or an earlier move of it
            is open.
    """
    audit = Audit(registry.client, registry.name)
    own = audit.open_move(
        request.run,
        alias=request.alias,
        former=request.expected,
        to=request.to,
        content=request.content,
        former_content=request.former_content,
        reason=request.reason,
        entry=request.entry or None,
        report=request.report or None,
    )
    _close_crashed_moves(registry, audit, own)
    earlier = [move for move in _open_before(audit, own) if move.alias == request.alias]
    found = version_of_alias(registry, request.alias)
    if earlier or found != request.expected:
        audit.close_move(own, State.LOST)
        note_moves(registry)
        raise _lost(registry, request, earlier, found)
    registry.client.set_registered_model_alias(registry.name, request.alias, request.to)
    _complete(audit, own)
    note_moves(registry)
    return replace(own, state=State.DONE)


def complete_unfinished_moves(registry: Registry) -> None:
    """Complete the moves of crashed processes whose alias was moved: set `previous`, and close the line as `done`.

    `move_alias` does the same and also closes lines whose alias was not moved; this function is for
    a promotion that has nothing to move.
    """
    audit = Audit(registry.client, registry.name)
    # by the clock of this machine: a wrong clock does no harm, because the line is completed only
    # if the alias moved
    now = time.time() * 1000
    for move in audit.moves():
        if move.state.is_final or not _is_crashed(registry, move, now):
            continue
        if version_of_alias(registry, move.alias) == move.to:
            _complete(audit, move)


def previous_version(registry: Registry, alias: str) -> str | None:
    """The version of an alias before its current one, by the audit.

    An open line counts if the alias is at its new version: a crash came after the move. The alias
    `previous` is no source: a crash may have left it unset, and all aliases share it.
    """
    current = version_of_alias(registry, alias)
    executed = []
    for move in Audit(registry.client, registry.name).moves(alias):
        is_moved = not move.state.is_final and move.to == current
        if move.state is State.DONE or is_moved:
            executed.append(move)
    if not executed:
        return None
    last = executed[-1]
    # after a move by hand, past the audit, the last recorded version is the previous one
    return (last.former if last.to == current else last.to) or None


def version_of_alias(registry: Registry, alias: str) -> str | None:
    """The version to which an alias points; None if it does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        found = registry.client.get_model_version_by_alias(registry.name, alias)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return str(found.version)


def _close_crashed_moves(registry: Registry, audit: Audit, own: Move) -> None:
    """Close the open lines of crashed processes; the position of the alias tells whether it was moved."""
    for move in _open_before(audit, own):
        if not _is_crashed(registry, move, own.when):
            continue
        if version_of_alias(registry, move.alias) == move.to:
            _complete(audit, move)
        else:
            audit.close_move(move, State.ABANDONED)


def _is_crashed(registry: Registry, move: Move, now: float) -> bool:
    """Whether the process of an open move crashed, `now` in milliseconds since 1970."""
    return registry.store.is_local or now - move.when >= _CRASHED_AFTER


def _complete(audit: Audit, move: Move) -> None:
    """Do what follows the move of the alias: set `previous`, close the line."""
    if move.former and move.former != move.to:
        audit.client.set_registered_model_alias(audit.name, PREVIOUS, move.former)
    audit.close_move(move, State.DONE)


def _open_before(audit: Audit, own: Move) -> list[Move]:
    """Open lines with a lower number than the own line."""
    moves = audit.moves()
    return [move for move in moves if not move.state.is_final and move.number < own.number]


def _lost(
    registry: Registry, request: AliasMove, earlier: list[Move], found: str | None
) -> ConcurrentMoveError:
    reason = _place(found)
    if earlier:
        reason = f"{earlier[0].who} moving it to version {earlier[0].to}"
    return ConcurrentMoveError(
        f"Expected {registry.name}@{request.alias} to stay at {_place(request.expected)} "
        f"during the move; found {reason}."
    )


def _place(version: str | None) -> str:
    return f"version {version}" if version else "no version"
