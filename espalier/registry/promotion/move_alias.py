"""Moving an alias by compare-and-swap, so that two who do it at once do not both win, and a death leaves it somewhere.

MLflow sets an alias whatever it was. So a move is first said in the audit, whose lines are numbered by the store: of
those open at once the lowest number goes on, and only if the alias still stands where it was seen. The alias is set in
one step; it is the old version or the new one, and the line tells which was meant.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espalier.errors import EspalierError
from espalier.registry.promotion.audit import Audit, Move, State

if TYPE_CHECKING:
    from mlflow import MlflowClient

PREVIOUS = "previous"
_DEAD_AFTER = 120_000  # ms: a move takes seconds; an older open line is of somebody who died, or whose store went away


class OvertakenError(EspalierError):
    """Somebody else moved the alias first."""


@dataclass(frozen=True)
class Swap:
    """What is to be moved.

    Attributes:
        alias: Its name.
        expected: The version it was seen at; none if it was not there.
        to: The version it should stand at.
        content: The hash of what that holds.
        former_content: Likewise, of where it was seen.
        reason: Why, for the audit.
        run: The run that holds the report.
    """

    alias: str
    expected: str | None
    to: str
    content: str
    former_content: str | None
    reason: str
    run: str


def swap(client: "MlflowClient", name: str, wish: Swap, *, alone: bool) -> Move:
    """Move an alias of the registered model `name`, and let `previous` stand where it stood.

    Args:
        client: Of the store.
        name: The registered model.
        wish: What should be moved.
        alone: Whether nobody else can be at it now, as the store is local and locked: open lines are of the dead.

    Returns:
        The line of the audit.

    Raises:
        OvertakenError: If the alias stands elsewhere than expected, or another move began before this one.
    """
    audit = Audit(client, name)
    mine = audit.add(
        wish.run,
        alias=wish.alias,
        former=wish.expected,
        to=wish.to,
        content=wish.content,
        former_content=wish.former_content,
        reason=wish.reason,
    )
    _settle_the_dead(audit, mine, alone=alone)
    ahead = [move for move in _open_before(audit, mine) if move.alias == wish.alias]
    found = where(client, name, wish.alias)
    if ahead or found != wish.expected:
        audit.settle(mine, State.LOST)
        there = f"{ahead[0].who} is moving it to version {ahead[0].to}" if ahead else _place(found)
        raise OvertakenError(
            f"{name}@{wish.alias} should still stand at {_place(wish.expected)} while it is moved. Found: {there}."
        )
    client.set_registered_model_alias(name, wish.alias, wish.to)
    _finish(audit, mine)
    return mine


def finish(client: "MlflowClient", name: str, *, alone: bool) -> None:
    """End the moves of those who died when the alias had moved: set `previous`, and say in the audit that it is done.

    `swap` does so itself, and also ends those whose alias never moved; this is for whoever has nothing to move.

    Args:
        client: Of the store.
        name: The registered model.
        alone: As in `swap`.
    """
    audit, now = Audit(client, name), time.time() * 1000
    for move in audit.moves():
        dead = (
            alone or now - move.when >= _DEAD_AFTER
        )  # by our clock: were it wrong, what is done here would be right
        if move.state is State.OPEN and dead and where(client, name, move.alias) == move.to:
            _finish(audit, move)


def stood(client: "MlflowClient", name: str, alias: str) -> str | None:
    """The version that an alias stood at before it came to where it stands, by the audit.

    A move that died with its line open counts if the alias stands where it was to go. `previous` is no answer: it may
    not have been set any more, and all aliases share it.
    """
    now = where(client, name, alias)
    arrived = [
        move
        for move in Audit(client, name).moves()
        if move.alias == alias
        and (move.state is State.DONE or (move.state is State.OPEN and move.to == now))
    ]
    if not arrived:
        return None
    return arrived[-1].former if arrived[-1].to == now else arrived[-1].to


def _settle_the_dead(audit: Audit, mine: Move, *, alone: bool) -> None:
    """Bring the lines of those who died to an end: where the alias stands tells how far they got."""
    for move in _open_before(audit, mine):
        if not alone and mine.when - move.when < _DEAD_AFTER:
            continue
        if where(audit.client, audit.name, move.alias) == move.to:
            _finish(audit, move)
        else:
            audit.settle(move, State.ABANDONED)


def where(client: "MlflowClient", name: str, alias: str) -> str | None:
    """The version that an alias stands at."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_model_version_by_alias(name, alias).version)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _place(version: str | None) -> str:
    return f"version {version}" if version else "no version"


def _finish(audit: Audit, move: Move) -> None:
    if move.former and move.former != move.to:
        audit.client.set_registered_model_alias(audit.name, PREVIOUS, move.former)
    audit.settle(move, State.DONE)


def _open_before(audit: Audit, mine: Move) -> list[Move]:
    return [
        move for move in audit.moves() if move.state is State.OPEN and move.number < mine.number
    ]
