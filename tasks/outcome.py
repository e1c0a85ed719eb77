"""The outcome of a command of the library: the file that it writes, and the error it stands for."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from espalier import paths
from espalier.cli import OUTCOME
from espalier.errors import BadInput, EspalierError, Stopped, TryAgain
from espalier.files import read_json_object

_ERRORS: dict[int, type[EspalierError]] = {
    error.status: error for error in (BadInput, TryAgain, Stopped)
}


@dataclass(frozen=True)
class Outcome:
    """The recorded end of a command.

    Attributes:
        status: exit status.
        message: sentence for the user; empty on success.
        defect: whether the message describes an unexpected exception.
    """

    status: int
    message: str
    defect: bool = False

    def error(self, label: str) -> EspalierError:
        """The error whose kind says what to do next."""
        return _ERRORS.get(self.status, EspalierError)(f"{label}: {self.message}")


@dataclass(frozen=True)
class OutcomeFile:
    """The file to which a command writes its outcome."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variable that names the file to the command."""
        return {OUTCOME: str(self.path)}

    def read(self) -> Outcome | None:
        """The recorded outcome; None if the command was killed before it wrote all of one, or had no room."""
        try:
            return Outcome(**read_json_object(self.path))
        except (BadInput, TypeError):
            return None


@contextmanager
def outcome_file(root: Path) -> Iterator[OutcomeFile]:
    """A file for the outcome of one command; it is removed when the block ends."""
    path = root / paths.STATE / "outcomes" / f"{uuid.uuid4().hex}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield OutcomeFile(path)
    finally:
        path.unlink(missing_ok=True)
