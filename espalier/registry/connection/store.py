"""The tracking store of MLflow: the project's own database, or the server that `MLFLOW_TRACKING_URI` names."""

import contextlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from espalier.errors import BadInput, EspalierError
from espalier.locks import hold_in_turn
from espalier.paths import PARAMS, STATE
from espalier.registry.connection.address import check_address
from espalier.registry.connection.failures import translated
from espalier.registry.connection.local_database import create, probe

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = Path("mlflow", "store", "mlflow.db")
LOCK = Path(STATE, "locks", "mlflow.lock")
LOCK_SECONDS = 600.0  # a registration holds the lock for seconds, on a crowded machine for minutes
_SQLITE = "sqlite:///"

# MLflow reads these when it is imported. Values that the user has set have priority.
_ENVIRONMENT = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # MLflow logs exceptions with a traceback and raises them, too
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    # a pooled connection would outlast a deleted database
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    # the default of 7 takes minutes when the server is unavailable
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


@dataclass(frozen=True)
class Store:
    """A tracking store.

    Attributes:
        uri: Address for MLflow; absolute for a local database.
        shown: Address for users and the receipt: without a password, and relative to the project
            where possible.
        root: The project.
        home: The project that contains a local database, perhaps another one; its paths are
            relative to this folder.
        database: Path of the local database; None for a server.
        is_explicit: Whether the address was given by `--at` instead of MLflow's variables.
        is_own: Whether the project uses this store without `--at`, too.
    """

    uri: str
    shown: str
    root: Path
    home: Path
    database: Path | None = None
    is_explicit: bool = False
    is_own: bool = True

    @property
    def is_local(self) -> bool:
        """Whether the store is a local database; `connect` locks it against all other processes."""
        return self.database is not None

    @property
    def is_missing(self) -> bool:
        """Whether the store is a local database that does not exist: it was lost, or never made."""
        return self.database is not None and not self.database.exists()

    @property
    def artifacts(self) -> str | None:
        """Folder of the files of a local store, relative to its project; None for a server."""
        if self.database is None:
            return None
        return _shortened(self.database.parent / "artifacts", self.home).as_posix()

    @property
    def lock(self) -> Path:
        """Lock file that `connect` holds: in the project that contains the database, or beside the database."""
        if self.database is not None and not self.database.is_relative_to(self.home):
            return self.database.parent / LOCK
        return self.home / LOCK


def find_store(root: Path, at: str | None = None) -> Store:
    """Find the store: `at`, else `MLFLOW_TRACKING_URI`, else the project's own `mlflow/store/mlflow.db`.

    The path of a relative database is relative to the project, whatever the current folder is.

    Args:
        root: The project.
        at: Address of another store than the project's, in the form of `MLFLOW_TRACKING_URI`.

    Raises:
        BadInput: If the address is a path: MLflow does not support its store of plain files any
            more.
    """
    root = root.resolve()
    own = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"{_SQLITE}{DATABASE.as_posix()}"
    if at is None:
        return _store(own, root, "MLFLOW_TRACKING_URI")
    store = _store(at.strip(), root, "--at")
    # compared here and kept: while `connect` runs, the variable is the address of its store
    return replace(store, is_explicit=True, is_own=store.uri == _absolute(own, root))


def _store(uri: str, root: Path, origin: str) -> Store:
    """The store at an address, which `origin` gave."""
    if uri.startswith(_SQLITE):
        return _local_store(uri, root)
    if urlsplit(uri).scheme in ("", "file"):
        raise BadInput(
            f"Expected {origin} to be the address of a server or of a database "
            f"({_SQLITE}{DATABASE.as_posix()}); found {uri!r}."
        )
    return Store(uri, _without_password(uri), root, root)


def _local_store(uri: str, root: Path) -> Store:
    database = _database(uri, root)
    return Store(
        uri=_absolute(uri, root),
        shown=f"{_SQLITE}{_shortened(database, root).as_posix()}",
        root=root,
        home=_home(database, root),
        database=database,
    )


def _absolute(uri: str, root: Path) -> str:
    """The address with the absolute path of a local database; that of a server unchanged."""
    return f"{_SQLITE}{_database(uri, root).as_posix()}" if uri.startswith(_SQLITE) else uri


def _database(uri: str, root: Path) -> Path:
    return Path(os.path.normpath(root / uri.removeprefix(_SQLITE)))


@contextlib.contextmanager
def connect(store: Store, *, make: bool = True) -> Iterator["MlflowClient"]:
    """Connect to a store and hold its lock: one process of this project at a time.

    A local store is locked against the processes of all projects. While the block runs, the current
    folder is the store's home, because paths in a local store are relative to it, and
    `MLFLOW_TRACKING_URI` is the store's address, because some functions of MLflow accept no other.

    Args:
        store: The store.
        make: Whether to create a missing local database, or to raise.

    Yields:
        A client of the store.

    Raises:
        TryAgain: If the store is unavailable, or one process holds the lock for too long.
        BadInput: If the address is wrong, the store denies access, or the file is not a database of
            MLflow.
        EspalierError: If the local database is missing and `make` is false.
    """
    if not store.is_local:
        check_address(store.uri, store.shown)
    configure_mlflow()
    with contextlib.ExitStack() as stack:
        stack.enter_context(locked(store))
        stack.enter_context(translated(store.uri, store.shown))
        stack.enter_context(_variable("MLFLOW_TRACKING_URI", store.uri))
        if (
            store.is_explicit
        ):  # a separate registry that the user has set belongs to the project's store
            stack.enter_context(_variable("MLFLOW_REGISTRY_URI", store.uri))
        if store.database is not None:
            stack.enter_context(contextlib.chdir(store.home))
            _open_database(store, store.database, make=make)
        from mlflow import MlflowClient

        yield MlflowClient(store.uri)


def locked(store: Store) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of a store while a block runs, without connecting to it.

    Raises:
        TryAgain: If one process holds it for too long.
    """
    return hold_in_turn(store.lock, LOCK, LOCK_SECONDS)


def _open_database(store: Store, database: Path, *, make: bool) -> None:
    if not database.exists():
        if not make:
            raise EspalierError(
                f"Expected the registered models in {store.shown}; found no database there"
                f"{_next_step(store)}"
            )
        create(database)
    probe(database)


def _next_step(store: Store) -> str:
    """The next step if the database is missing."""
    if store.is_own:
        return (
            ". `espalier register` makes it from models/ and mlflow/audit/; `espalier restore FILE` takes it "
            "from a backup."
        )
    return (
        ": check the address. If the database was lost, `espalier restore --in NAME --at "
        f"{store.shown}` makes it again from mlflow/audit/."
    )


def configure_mlflow() -> None:
    """Set the variables that MLflow reads when it is imported, where the user has not."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # alembic logs migrations, urllib3 a warning for every retry
    for logger in ("alembic", "urllib3.connectionpool"):
        logging.getLogger(logger).setLevel(logging.ERROR)


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment while the block runs."""
    previous = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if previous is None:
            del os.environ[name]
        else:
            os.environ[name] = previous


def _home(database: Path, root: Path) -> Path:
    """The nearest project that contains a database; `root` if no project contains it."""
    for folder in database.parents:
        if folder == root or (folder / PARAMS).is_file():
            return folder
    return root


def _shortened(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path


def _without_password(uri: str) -> str:
    """The address without password, query and fragment; a user without a password may be a token."""
    parts = urlsplit(uri)
    host = parts.netloc.rpartition("@")[2]
    if parts.username and parts.password:
        host = f"{parts.username}@{host}"
    return urlunsplit(parts._replace(netloc=host, query="", fragment=""))
