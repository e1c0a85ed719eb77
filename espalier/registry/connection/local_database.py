"""The project's own MLflow database: made whole or not at all, and movable with the project."""

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from espalier.errors import BadInput, TryAgain

_BUSY_SECONDS = 10.0


def create(database: Path) -> None:
    """Make an empty database. The caller holds the project's lock: processes that race to make one break it.

    It is made under another name, because MLflow cannot finish one that a killed process left half made.

    Raises:
        OSError: If the folder cannot be written; it names the path.
    """
    from mlflow import MlflowClient

    database.parent.mkdir(parents=True, exist_ok=True)
    for left in database.parent.glob(f".{database.name}.*"):
        left.unlink()
    draft = database.with_name(f".{database.name}.{uuid.uuid4().hex}")
    try:
        MlflowClient(f"sqlite:///{draft.as_posix()}").search_experiments(max_results=1)
        draft.replace(database)
    finally:
        draft.unlink(missing_ok=True)


def probe(database: Path) -> None:
    """Check that the database can be read, before MLflow tries to for two minutes.

    Raises:
        BadInput: If it is none; it names the file.
        TryAgain: If another process keeps it locked.
    """
    try:
        with closing(
            sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_BUSY_SECONDS)
        ) as connection:
            connection.execute("SELECT count(*) FROM experiments").fetchone()
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise TryAgain(
                f"{database} should be free within {_BUSY_SECONDS:.0f} s. Found it locked."
            ) from None
        raise BadInput(
            f"{database} should be a database of MLflow that can be read. Found: {error}. It holds nothing that the "
            "files do not: once it is moved away, the next registration makes another."
        ) from None


def keep_artifacts_in(database: Path, experiment: str, location: str) -> None:
    """Give an experiment a place for files that is relative to the project.

    MLflow resolves what it is given against the current folder and writes that down, so that a moved project would
    lose its files; a relative path that it finds written down, it takes.
    """
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            (location, int(experiment)),
        )
