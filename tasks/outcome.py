"""How a command of the library ended, in its own words: the file in which it says so, and the error that it is here."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from espalier import paths
from espalier.cli import OUTCOME
from espalier.errors import BadInput, EspalierError, Stopped, TryAgain
from espalier.files import read_json

_ERRORS: dict[int, type[EspalierError]] = {
    error.status: error for error in (BadInput, TryAgain, Stopped)
}


@dataclass(frozen=True)
class Told:
    """What a command recorded: its exit status, a sentence, and whether that is about a defect of its own."""

    status: int
    message: str
    defect: bool = False

    def error(self, label: str) -> EspalierError:
        """The error that says what to do next."""
        return _ERRORS.get(self.status, EspalierError)(f"{label}: {self.message}")


@dataclass(frozen=True)
class Outcome:
    """The file in which a command is to say how it ended."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """What tells the command of the file."""
        return {OUTCOME: str(self.path)}

    def read(self) -> Told | None:
        """What the command recorded; nothing if it was killed before it could."""
        return Told(**read_json(self.path)) if self.path.is_file() else None


@contextmanager
def expected(root: Path) -> Iterator[Outcome]:
    """A place for the outcome of one command, gone when the block ends."""
    path = root / paths.STATE / "outcomes" / f"{uuid.uuid4().hex}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield Outcome(path)
    finally:
        path.unlink(missing_ok=True)
