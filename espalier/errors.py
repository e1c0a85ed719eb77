"""What can go wrong, told apart by what should happen next: give up, try again, or stop."""

from typing import ClassVar


class EspalierError(Exception):
    """An error with a sentence for the user.

    `status` is the exit status of a stage that ends with it.
    """

    status: ClassVar[int] = 1


class BadInput(EspalierError, ValueError):
    """Data, parameters or files are not as they should be: trying again cannot help."""

    status = 2


class TryAgain(EspalierError):
    """Something outside the stage failed (memory, device, server, storage): the same stage may succeed later."""

    status = 75


class Stopped(EspalierError):
    """The stage was asked to stop (SIGTERM), and has written its checkpoint."""

    status = 143


class Notice(UserWarning):
    """Something that the user should know, though nothing failed: a sentence with its figures."""
