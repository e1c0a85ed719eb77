"""The outcome of a command: a JSON file that it writes for the process that started it."""

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from espalier.errors import BadInput, EspalierError, LostProcess, ServerAway, Stopped, TryAgain
from espalier.files import read_json_object
from espalier.settings.secrets import without_secrets

OUTCOME = "ESPALIER_OUTCOME"  # path of the file
WORKERS = "ESPALIER_WORKERS"  # folder of the files of processes that train one model together
STARTER = "ESPALIER_STARTER"  # number of the process that started them
_RANK = "RANK"  # set by torch for each of them

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
        trace: traceback of the exception, if the command did not print it.
        follows: whether the command ended because another process had ended.
        away: whether it ended because the tracking server does not accept requests.
    """

    status: int
    message: str
    defect: bool = False
    trace: str = ""
    follows: bool = False
    away: bool = False

    @classmethod
    def of(cls, error: EspalierError) -> "Outcome":
        """The outcome of a command that ended with an error."""
        return cls(
            error.status,
            str(error),
            follows=isinstance(error, LostProcess),
            away=isinstance(error, ServerAway),
        )

    def error(self, label: str = "") -> EspalierError:
        """The error whose kind says what to do next; its message begins with the label."""
        message = f"{label}: {self.message}" if label else self.message
        kind = ServerAway if self.away else _ERRORS.get(self.status, EspalierError)
        return kind(message)


def is_worker() -> bool:
    """Whether this process is one of several that train a model together.

    Its messages are printed by the command that started them all.
    """
    return WORKERS in os.environ


def write_outcome(outcome: Outcome) -> None:
    """Write the outcome of this process, if its starter asked for it."""
    path = _path()
    # on a full disk not even the outcome can be written; the status and the sentence remain
    with suppress(OSError):
        if path is not None:
            path.write_text(json.dumps(_content(outcome)))


def read_outcome(path: Path) -> Outcome | None:
    """A recorded outcome; None if the command was killed before it wrote all of one, or had no room."""
    try:
        return Outcome(**read_json_object(path))
    except (BadInput, TypeError):
        return None


def outcome_path(folder: Path, rank: int) -> Path:
    """The file of one of several processes."""
    return folder / f"{rank}.json"


def _path() -> Path | None:
    if is_worker():
        return outcome_path(Path(os.environ[WORKERS]), int(os.environ.get(_RANK, 0)))
    path = os.environ.get(OUTCOME)
    return Path(path) if path else None


def _content(outcome: Outcome) -> dict[str, object]:
    """The keys of the file; the rare ones are left out at their defaults."""
    content = asdict(outcome)
    content |= {key: without_secrets(content[key]) for key in ("message", "trace")}
    rare = ("trace", "follows", "away")
    return {key: value for key, value in content.items() if value or key not in rare}
