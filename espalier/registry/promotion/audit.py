"""The audit: an append-only list of all moves of the aliases of a registered model.

The audit of the registered model `digits` is a registered model of its own, `digits.audit`. Each of
its versions is one line, one move; the tags of the version hold the columns. The store numbers the
versions and gives each number once, also to concurrent clients. This order decides between
concurrent moves, see `alias_moves`.

Example of two lines; the second is being executed:

| number | alias | former | to | reason | state |
|---|---|---|---|---|---|
| 1 | champion | | 3 | promoted | done |
| 2 | champion | 3 | 5 | promoted | open |

A store that was lost gets its lines again from the file of the audit, see `audit_file`. The columns of
such a line are those of the file. Its versions and its run have other numbers in the new store; they
are in further tags, `espalier.here.to` and so on. `lines` gives both.
"""

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from espalier.registry.versions import quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient

ROLLED_BACK = "rolled back"  # reason of a move by `espalier rollback`
REPORT = "gates.json"  # name of the gate report in the run of a promotion
_PREFIX = "espalier."  # of the tags; their names and values are in existing stores
_HERE = "here."  # of the tags with the numbers of this store, in lines that were restored
_LONGEST_TIME = 14  # digits of milliseconds: until the year 5138
_SEAL = "seal"  # tag with the SHA-256 of the line in the file of the audit


class State(StrEnum):
    """State of a move."""

    OPEN = "open"  # recorded; being executed, or interrupted by a crash
    DONE = "done"  # the alias was moved
    LOST = "lost"  # a concurrent move was first
    ABANDONED = "abandoned"  # interrupted by a crash before the alias was moved
    UNKNOWN = "unknown"  # the store holds another word; treated as open

    @property
    def is_final(self) -> bool:
        """Whether the line does not change any more."""
        return self not in (State.OPEN, State.UNKNOWN)


def user() -> str:
    """The name of the user, or the number of a user without an entry in passwd, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


@dataclass(frozen=True)
class Move:
    """A line of the audit.

    Attributes:
        number: Number of the line, from 1.
        alias: Name of the alias.
        former: Version of the alias before the move; None if the alias did not exist.
        to: Version of the alias after the move; empty if a restored store does not have it.
        content: Content hash of the new version.
        former_content: Content hash of the former version.
        reason: Reason, such as "promoted" or "rolled back".
        who: User and machine.
        run: MLflow's id of the run with the gate report.
        when: Milliseconds since 1970, by the clock of the store.
        state: State of the move.
        entry: Name of the new version's model in `params.yaml`; empty in lines of former versions.
        report: SHA-256 of the gate report; empty without one.
    """

    number: int
    alias: str
    former: str | None
    to: str
    content: str
    former_content: str | None
    reason: str
    who: str
    run: str
    when: int
    state: State
    entry: str = ""
    report: str = ""


@dataclass(frozen=True)
class StoredLine:
    """A line of the audit as the store holds it.

    Attributes:
        recorded: The columns as they were recorded when the move was made.
        move: The same, with versions and run by their numbers in this store.
        seal: SHA-256 of the line in the file of the audit; empty before it is written there.
    """

    recorded: Move
    move: Move
    seal: str


@dataclass(frozen=True)
class Audit:
    """The audit of one registered model.

    Attributes:
        client: Client of the store.
        name: The registered model whose aliases are moved.
    """

    client: "MlflowClient"
    name: str

    @property
    def model_name(self) -> str:
        """The registered model whose versions are the lines."""
        return f"{self.name}.audit"

    def open_move(self, run: str, **columns: str | None) -> Move:
        """Append a line with the state `open`.

        Args:
            run: MLflow's id of the run with the gate report.
            columns: Attributes of the `Move`; number, time, user and state are added here.
        """
        self._create_model()
        columns |= {
            "who": f"{user()}@{socket.gethostname()}",
            "run": run,
            "state": State.OPEN,
        }
        tags = {f"{_PREFIX}{key}": value for key, value in columns.items() if value is not None}
        line = self.client.create_model_version(
            self.model_name, f"runs:/{run}/promotion", run, tags=tags
        )
        return _move_of(line)

    def restore_line(self, recorded: Move, move: Move) -> int:
        """Append a line that another store held.

        Args:
            recorded: The columns in the other store.
            move: The same, with versions and run by their numbers in this store.

        Returns:
            The number of the line in this store.
        """
        self._create_model()
        columns = {
            "alias": recorded.alias,
            "former": recorded.former,
            "to": recorded.to,
            "content": recorded.content,
            "former_content": recorded.former_content,
            "reason": recorded.reason,
            "who": recorded.who,
            "run": recorded.run,
            "when": str(recorded.when),
            "state": recorded.state,
            "entry": recorded.entry or None,
            "report": recorded.report or None,
            f"{_HERE}former": move.former,
            f"{_HERE}to": move.to,
            f"{_HERE}run": move.run,
        }
        tags = {f"{_PREFIX}{key}": value for key, value in columns.items() if value is not None}
        line = self.client.create_model_version(
            self.model_name, f"runs:/{move.run}/promotion", move.run, tags=tags
        )
        return int(line.version)

    def seal(self, number: int, sha256: str) -> None:
        """Record the SHA-256 of a line in the file of the audit."""
        self.client.set_model_version_tag(self.model_name, str(number), f"{_PREFIX}{_SEAL}", sha256)

    def close_move(self, move: Move, state: State) -> None:
        """Set the final state of a move."""
        self.client.set_model_version_tag(
            self.model_name, str(move.number), f"{_PREFIX}state", state
        )

    def moves(self, alias: str | None = None) -> list[Move]:
        """All moves of an alias, or of all aliases, the oldest first; versions by their numbers in this store."""
        moves = [line.move for line in self.lines()]
        return [move for move in moves if alias in (None, move.alias)]

    def lines(self) -> list[StoredLine]:
        """All lines, the oldest first."""
        wanted = f"name = {quoted(self.model_name)}"
        found: list[Any] = []
        token = None
        while True:
            page = self.client.search_model_versions(wanted, page_token=token)
            found += page
            token = page.token
            if not token:
                break
        lines = [_line_of(one) for one in found]
        return sorted(lines, key=lambda line: line.recorded.number)

    def _create_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                self.model_name, description=f"Every move of an alias of {self.name}."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _line_of(version: Any) -> StoredLine:
    """Read a line from MLflow's version."""
    tags: Mapping[str, str] = version.tags
    recorded = _move_of(version)
    move = recorded
    if f"{_PREFIX}{_HERE}to" in tags:
        move = replace(
            recorded,
            former=tags.get(f"{_PREFIX}{_HERE}former") or None,
            to=tags[f"{_PREFIX}{_HERE}to"],
            run=tags.get(f"{_PREFIX}{_HERE}run", ""),
        )
    return StoredLine(recorded, move, tags.get(f"{_PREFIX}{_SEAL}", ""))


def _move_of(version: Any) -> Move:
    """Read the columns of a line from MLflow's version."""
    tags: Mapping[str, str] = version.tags

    def column(key: str) -> str | None:
        return tags.get(f"{_PREFIX}{key}")

    when = column("when") or ""
    return Move(
        number=int(version.version),
        alias=column("alias") or "",
        former=column("former"),
        to=column("to") or "",
        content=column("content") or "",
        former_content=column("former_content"),
        reason=column("reason") or "",
        who=column("who") or "",
        run=column("run") or "",
        when=int(when) if _is_time(when) else version.creation_timestamp,
        state=_state_of(column("state")),
        entry=column("entry") or "",
        report=column("report") or "",
    )


def _is_time(text: str) -> bool:
    """Whether a text is a time in milliseconds that the calendar has."""
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_TIME


def _state_of(word: str | None) -> State:
    """The state in a tag, which every client of the store can set to any word."""
    try:
        return State(word or State.OPEN)
    except ValueError:
        return State.UNKNOWN
