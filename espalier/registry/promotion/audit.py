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
"""

import getpass
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from espalier.registry.versions import quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PREFIX = "espalier."  # of the tags; their names and values are in existing stores


class State(StrEnum):
    """State of a move."""

    OPEN = "open"  # recorded; being executed, or interrupted by a crash
    DONE = "done"  # the alias was moved
    LOST = "lost"  # a concurrent move was first
    ABANDONED = "abandoned"  # interrupted by a crash before the alias was moved


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
        to: Version of the alias after the move.
        content: Content hash of the new version.
        former_content: Content hash of the former version.
        reason: Reason, such as "promoted" or "rolled back".
        who: User and machine.
        run: MLflow's id of the run with the gate report.
        when: Milliseconds since 1970, by the clock of the store.
        state: State of the move.
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

    def close_move(self, move: Move, state: State) -> None:
        """Set the final state of a move."""
        self.client.set_model_version_tag(
            self.model_name, str(move.number), f"{_PREFIX}state", state
        )

    def moves(self, alias: str | None = None) -> list[Move]:
        """All moves of an alias, or of all aliases, the oldest first."""
        wanted = f"name = {quoted(self.model_name)}"
        lines: list[Any] = []
        token = None
        while True:
            page = self.client.search_model_versions(wanted, page_token=token)
            lines += page
            token = page.token
            if not token:
                break
        moves = [_move_of(line) for line in lines]
        chosen = [move for move in moves if alias in (None, move.alias)]
        return sorted(chosen, key=lambda move: move.number)

    def _create_model(self) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                self.model_name, description=f"Every move of an alias of {self.name}."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _move_of(line: Any) -> Move:
    """Read a line from MLflow's version."""
    tags: Mapping[str, str] = line.tags

    def column(key: str) -> str | None:
        return tags.get(f"{_PREFIX}{key}")

    return Move(
        number=int(line.version),
        alias=column("alias") or "",
        former=column("former"),
        to=column("to") or "",
        content=column("content") or "",
        former_content=column("former_content"),
        reason=column("reason") or "",
        who=column("who") or "",
        run=column("run") or "",
        when=line.creation_timestamp,
        state=State(column("state") or State.OPEN),
    )
