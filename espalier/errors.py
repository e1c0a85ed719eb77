"""Errors, by the reaction to them: give up, try again, or stop."""

from typing import ClassVar


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


class Stopped(EspalierError):
    """The stage was asked to stop (SIGTERM), and has written its checkpoint."""

    status = 143


class Notice(UserWarning):
    """A sentence for the user about something that did not fail."""
