"""The audit: who moved an alias, when, from where, to where and why. It is only ever added to.

It is a registered model of its own, `NAME.audit`, whose versions are its lines: the store numbers them, each number
once, whoever asks at the same time. That is also what decides between two who move an alias at once.
"""

import getpass
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from espalier.registry.versions.registry import quoted

if TYPE_CHECKING:
    from mlflow import MlflowClient

_TAG = "espalier."


class State(StrEnum):
    """How far a move got."""

    OPEN = "open"  # said, and perhaps done: whoever was at it may have died
    DONE = "done"
    LOST = "lost"  # somebody else was first
    ABANDONED = "abandoned"  # whoever was at it died before the alias moved


@dataclass(frozen=True)
class Move:
    """A line of the audit.

    Attributes:
        number: Its place, from 1.
        alias: What was moved.
        former: The version it stood at; none if it stood nowhere.
        to: The version it was moved to.
        content: The hash of what that version holds.
        former_content: Likewise, of where it stood.
        reason: Why.
        who: The user and machine.
        run: The run that holds the report.
        when: Milliseconds since 1970, by the store's clock.
        state: How far it got.
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
    """The audit of one registered model."""

    client: "MlflowClient"
    name: str

    @property
    def book(self) -> str:
        """The registered model whose versions are the lines."""
        return f"{self.name}.audit"

    def add(self, run: str, **told: str | None) -> Move:
        """Write a line, open. `told` are the attributes of a `Move`, as far as they are not the store's to say."""
        from mlflow.exceptions import MlflowException

        try:
            self.client.create_registered_model(
                self.book, description=f"Every move of an alias of {self.name}."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        told |= {
            "who": f"{getpass.getuser()}@{socket.gethostname()}",
            "run": run,
            "state": State.OPEN,
        }
        tags = {f"{_TAG}{key}": value for key, value in told.items() if value is not None}
        line = self.client.create_model_version(self.book, f"runs:/{run}/promotion", run, tags=tags)
        return _read(int(line.version), line.creation_timestamp, line.tags)

    def settle(self, move: Move, state: State) -> None:
        """Say how a move ended."""
        self.client.set_model_version_tag(self.book, str(move.number), f"{_TAG}state", state)

    def moves(self) -> list[Move]:
        """All lines, the oldest first."""
        lines: list[Any] = []
        token = None
        while True:
            page = self.client.search_model_versions(
                f"name = {quoted(self.book)}", page_token=token
            )
            lines += page
            token = page.token
            if not token:
                break
        return sorted(
            (_read(int(line.version), line.creation_timestamp, line.tags) for line in lines),
            key=lambda move: move.number,
        )


def _read(number: int, when: int, tags: Mapping[str, str]) -> Move:
    def told(key: str) -> str | None:
        return tags.get(f"{_TAG}{key}")

    return Move(
        number,
        told("alias") or "",
        told("former"),
        told("to") or "",
        told("content") or "",
        told("former_content"),
        told("reason") or "",
        told("who") or "",
        told("run") or "",
        when,
        State(told("state") or State.OPEN),
    )
