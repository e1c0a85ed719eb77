"""The project's own MLflow database: created atomically, and movable with the project."""

import sqlite3
import uuid
from contextlib import closing
from pathlib import Path

from espalier.errors import BadInput, TryAgain

_BUSY_SECONDS = 10.0
_JOURNALS = ("-journal", "-wal", "-shm")  # endings of the files that SQLite keeps beside a database


def create(database: Path) -> None:
    """Create an empty database atomically. The caller holds the project's lock.

    MLflow cannot open a database whose creation was interrupted, so it is created under a temporary
    name and renamed.

    Raises:
        OSError: If the folder is not writable; the message names the path.
    """
    from mlflow import MlflowClient

    database.parent.mkdir(parents=True, exist_ok=True)
    for draft_of_a_crash in database.parent.glob(f".{database.name}.*"):
        draft_of_a_crash.unlink()
    draft = database.with_name(f".{database.name}.{uuid.uuid4().hex}")
    try:
        MlflowClient(f"sqlite:///{draft.as_posix()}").search_experiments(max_results=1)
        set_journals_aside(database)
        draft.replace(database)
    finally:
        draft.unlink(missing_ok=True)


def set_journals_aside(database: Path) -> None:
    """Rename the journals of a database that is gone. The caller holds the project's lock.

    SQLite rolls back a journal of this name into any database that it finds beside it, also into a new
    one. It is kept, because the database that was moved away is not complete without it.
    """
    for ending in _JOURNALS:
        journal = database.with_name(f"{database.name}{ending}")
        if journal.exists():
            journal.rename(journal.with_name(f"{journal.name}.{uuid.uuid4().hex[:8]}"))


def probe(database: Path) -> None:
    """Check that the database is readable; MLflow itself would retry for two minutes.

    It is opened for writing, if it may be written: SQLite then rolls back a transaction that a killed
    process has left, and could not read the database otherwise.

    Raises:
        BadInput: If the file is not a database of MLflow; the message names it.
        TryAgain: If another process keeps it locked.
    """
    address = f"{database.as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS)) as connection:
            connection.execute("SELECT count(*) FROM experiments").fetchone()
    except sqlite3.Error as error:
        if "locked" in str(error):
            raise TryAgain(
                f"Expected {database} to be free within {_BUSY_SECONDS:.0f} s; found it locked."
            ) from None
        raise BadInput(
            f"Expected {database} to be a readable database of MLflow; found an error: {error}. "
            f"Move it away together with {database.name}-journal, if there is one, then restore a backup "
            "by `espalier restore FILE` or, without one, run `espalier register`: it makes versions of the models "
            "again, and restores audit and aliases from mlflow/audit/ and mlflow/store/artifacts/. Metrics and runs "
            "that are in no folder of models/ are lost without a backup."
        ) from None


def keep_artifacts_in(database: Path, experiment: str, location: str) -> None:
    """Set the artifact location of an experiment to a path relative to the project.

    MLflow resolves a given location against the current folder and stores the absolute path, so
    that a moved project would lose its files. It accepts a relative path that it reads from the
    database.

    Args:
        database: The database.
        experiment: MLflow's id of the experiment.
        location: The relative path.
    """
    with closing(sqlite3.connect(database, timeout=_BUSY_SECONDS)) as connection, connection:
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            (location, int(experiment)),
        )
