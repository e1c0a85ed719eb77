"""The outcome of a command of the library, in a file of a run."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from espalier import paths
from espalier.outcomes import OUTCOME, Outcome, read_outcome


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
        return read_outcome(self.path)


@contextmanager
def outcome_file(root: Path) -> Iterator[OutcomeFile]:
    """A file for the outcome of one command; it is removed when the block ends."""
    path = root / paths.STATE / "outcomes" / f"{uuid.uuid4().hex}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield OutcomeFile(path)
    finally:
        path.unlink(missing_ok=True)
