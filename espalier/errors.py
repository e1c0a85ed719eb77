"""Errors, by the reaction to them: give up, try again, or stop."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

Row = TypeVar("Row")


class EspalierError(Exception):
    """An error with a sentence for the user.

    `status` is the exit status of a stage that ends with it.
    """

    status: ClassVar[int] = 1


class BadInput(EspalierError, ValueError):
    """Data, parameters or files are wrong: a retry cannot succeed."""

    status = 2


class TryAgain(EspalierError):
    """Something outside the stage failed (memory, device, server, storage): a retry can succeed."""

    status = 75


class ServerAway(TryAgain):
    """The tracking server does not accept requests; nothing else failed."""


class LostProcess(TryAgain):
    """Another process that trains the same model has ended; its own error says why."""


class Stopped(EspalierError):
    """The stage was asked to stop (SIGTERM), and has written its checkpoint."""

    status = 143


class Notice(UserWarning):
    """A sentence for the user about something that did not fail."""


def reason_of(error: BaseException, limit: int = 200) -> str:
    """The message of an error of another library, for the end of a sentence: one line, no full stop.

    Args:
        error: the error; the name of its type stands in for an empty message.
        limit: largest number of characters.
    """
    words = str(error).split()
    message = printable(" ".join(words)[:limit].rstrip("."))
    return message or type(error).__name__


def printable(text: str) -> str:
    r"""A text from a file or a store with its control characters as `\xNN`; line breaks stay."""
    return "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)


def first_problem(error: Any) -> tuple[str, str]:
    """The place, such as `models.0.name`, and the message of the first error of pydantic's validation."""
    first = error.errors()[0]
    return ".".join(str(part) for part in first["loc"]), str(first["msg"])


def row_named(table: Mapping[str, Row], name: str, noun: str) -> Row:
    """The row of a name in one of the literal tables.

    Args:
        table: the rows, by name.
        name: name of a row, as a file or a user gives it.
        noun: noun of a row with its article, such as `a task`.

    Raises:
        BadInput: if there is none; the message lists the known names.
    """
    if name not in table:
        raise BadInput(f"Expected {noun} of {', '.join(table)}; found {name!r}.")
    return table[name]
