"""Where MLflow keeps things: the project's own database, or the server that `MLFLOW_TRACKING_URI` names."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from filelock import FileLock, Timeout

from espalier.errors import BadInput, EspalierError, TryAgain
from espalier.paths import PARAMS, STATE
from espalier.registry.connection.failures import translated
from espalier.registry.connection.local_database import create, probe

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = Path("mlflow", "store", "mlflow.db")
LOCK = Path(STATE, "locks", "mlflow.lock")
LOCK_SECONDS = (
    120.0  # another registration of this project takes seconds; whoever holds it longer hangs
)
_SQLITE = "sqlite:///"

# MLflow reads these when it is imported; what the user has set is left alone.
_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # it logs, with a traceback, what it raises as well
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",  # a kept connection would stay with a database that was wiped
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # of 7, which keep a user waiting for minutes when the server is away
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@dataclass(frozen=True)
class Store:
    """A tracking store.

    Attributes:
        uri: What MLflow is given: absolute where it is a local database.
        shown: What a user and the receipt are given: relative to the project where it can be, without a password.
        root: The project.
        home: The project that a local database lies in, which can be another: paths in it are relative to that one.
        database: The local database; none if the store is a server.
        apart: Whether it was named beside the one that MLflow's variables are set for.
    """

    uri: str
    shown: str
    root: Path
    home: Path
    database: Path | None = None
    apart: bool = False

    @property
    def artifacts(self) -> str | None:
        """Where a local store keeps files: beside its database, relative to the project so that both can be moved."""
        if self.database is None:
            return None
        return _relative(self.database.parent / "artifacts", self.home).as_posix()

    @property
    def lock(self) -> Path:
        """What whoever works on it holds: in the project, of a local database in its own, or beside it in none."""
        outside = self.database is not None and not self.database.is_relative_to(self.home)
        return (self.database.parent if self.database and outside else self.home) / LOCK


def find_store(root: Path, at: str | None = None) -> Store:
    """The store that `at` or else `MLFLOW_TRACKING_URI` names, else the project's own `mlflow/store/mlflow.db`.

    A relative database is relative to the project, whatever the current folder is.

    Args:
        root: The project.
        at: Another store than the project's, named as in `MLFLOW_TRACKING_URI`.

    Raises:
        BadInput: If a path is named: MLflow's store of plain files is not supported any more.
    """
    root, apart = root.resolve(), at is not None
    uri = (os.environ.get("MLFLOW_TRACKING_URI", "") if at is None else at).strip()
    if not uri and not apart:
        uri = f"{_SQLITE}{DATABASE.as_posix()}"
    if uri.startswith(_SQLITE):
        database = Path(os.path.normpath(root / uri.removeprefix(_SQLITE)))
        shown = f"{_SQLITE}{_relative(database, root).as_posix()}"
        return Store(
            f"{_SQLITE}{database.as_posix()}", shown, root, _home(database, root), database, apart
        )
    if urlsplit(uri).scheme in ("", "file"):
        raise BadInput(
            f"{'--at' if apart else 'MLFLOW_TRACKING_URI'} should be the address of a server or of a database "
            f"({_SQLITE}{DATABASE.as_posix()}). Found {uri!r}."
        )
    return Store(uri, _without_password(uri), root, root, None, apart)


@contextlib.contextmanager
def connect(store: Store, *, make: bool = True) -> Iterator["MlflowClient"]:
    """Talk to a store, alone among the processes of this project; a local database is made when there is none.

    A local store is ours alone among the processes of all projects. While the block runs, the current folder is the
    store's home (the paths in a local store are relative to it) and `MLFLOW_TRACKING_URI` is the store's: some of
    MLflow's own functions take no other.

    Args:
        store: The store.
        make: Whether a missing local database is made, or is an error.

    Yields:
        A client of the store.

    Raises:
        TryAgain: If the store cannot be reached, or another process holds the lock for too long.
        BadInput: If it refuses us, or the local database is none.
        EspalierError: If there is no local database and none should be made.
    """
    _prepare()
    lock = FileLock(store.lock)
    with contextlib.ExitStack() as stack:
        try:
            store.lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock.acquire(timeout=LOCK_SECONDS))
        except Timeout:
            raise TryAgain(
                f"{LOCK} should be free within {LOCK_SECONDS:.0f} s. Found another process of this project holding it."
            ) from None
        stack.enter_context(translated(store.uri, store.shown))
        stack.enter_context(_variable("MLFLOW_TRACKING_URI", store.uri))
        if (
            store.apart
        ):  # a registry that the user has set apart belongs to the store of the project
            stack.enter_context(_variable("MLFLOW_REGISTRY_URI", store.uri))
        if store.database is not None:
            stack.enter_context(contextlib.chdir(store.home))
            if not store.database.exists():
                if not make:
                    raise EspalierError(
                        f"{store.shown} should hold the registered models. Found no database there."
                    )
                create(store.database)
            probe(store.database)
        from mlflow import MlflowClient

        yield MlflowClient(store.uri)


def _prepare() -> None:
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for logger in (
        "alembic",
        "urllib3.connectionpool",
    ):  # migrations, and a warning for every retry
        logging.getLogger(logger).setLevel(logging.ERROR)


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    former = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if former is None:
            del os.environ[name]
        else:
            os.environ[name] = former


def _home(database: Path, root: Path) -> Path:
    """The nearest project that a database lies in; `root` if it lies in none."""
    found = (folder for folder in database.parents if folder == root or (folder / PARAMS).is_file())
    return next(found, root)


def _relative(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(
        parts._replace(
            netloc=f"{parts.username}@{host}" if at and parts.username else host, query=""
        )
    )
