"""Backups of a local store: the database, the files of the versions and the audit, in one archive.

The archive is an uncompressed tar file. The database in it is a copy by sqlite's own backup, made
while the project's lock is held, so that database and files belong together. The last member,
`backup.json`, lists the SHA-256 of every other one.

| member | content |
|---|---|
| `store/mlflow.db` | the database |
| `store/artifacts/...` | the files of the versions and of their runs |
| `audit/...` | the audit of the project, see `espalier.registry.promotion.audit_file` |
| `backup.json` | SHA-256 of each member |
"""

import errno
import hashlib
import io
import json
import shutil
import sqlite3
import tarfile
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from espalier import files
from espalier.errors import BadInput, TryAgain
from espalier.paths import AUDIT
from espalier.registry.connection import Store, connect, locked, set_journals_aside
from espalier.settings.limits import JSON_BYTES

_LIST = "backup.json"
_DATABASE = "store/mlflow.db"
_ARTIFACTS = "store/artifacts"
_OF_AUDIT = "audit"
_BLOCK = 2**20  # bytes read at once


def back_up(store: Store, target: Path) -> int:
    """Write a backup of a local store.

    Args:
        store: The store.
        target: The archive; must not exist.

    Returns:
        The number of files in it.

    Raises:
        BadInput: If the store is a server, or the archive exists or cannot be written there.
        TryAgain: If the disk is full.
    """
    database = _local(store)
    # before the store is opened, to whose failures an error of this folder does not belong
    with _draft_folder(target) as folder, connect(store, make=False):
        members = {_DATABASE: Path(folder, "mlflow.db"), **dict(_members(store, database))}
        draft = Path(folder, "backup.tar")
        with _writing(target, draft):
            _copy_database(database, members[_DATABASE])
            number = _write(draft, members)
            draft.replace(target)
    return number


def unpack(store: Store, archive: Path) -> int:
    """Restore a local store from a backup.

    Files of versions that are in place with the same hash are kept, as is a file of the audit that is in
    place: it is the same or newer. The database is written last: if a crash comes before, the same call
    completes the restoration.

    Args:
        store: The store, without a database.
        archive: The backup.

    Returns:
        The number of files that were written.

    Raises:
        BadInput: If the store is a server or has a database, or the archive is damaged or no backup.
        TryAgain: If one process holds the lock of the store for too long.
    """
    database = _local(store)
    with locked(store), _opened(archive) as backup:
        hashes = _read_list(archive, backup)
        _check(archive, backup, hashes)
        if database.exists():  # last: a database is not moved away for an archive that is none
            raise BadInput(
                f"Expected no database in {store.shown} before a backup is restored; found one: move it "
                "away first."
            )
        set_journals_aside(database)
        names = sorted(hashes, key=lambda one: one == _DATABASE)
        return sum(
            _restore(backup, name, _target(store, database, name), hashes[name]) for name in names
        )


def _local(store: Store) -> Path:
    """The database of a local store.

    Raises:
        BadInput: If the store is a server.
    """
    if store.database is None:
        raise BadInput(
            f"Expected the project's own database; found the server {store.shown}: back up its database and "
            f"its files there. The audit is in {AUDIT}/."
        )
    return store.database


def _draft_folder(target: Path) -> tempfile.TemporaryDirectory[str]:
    """A temporary folder beside an archive that does not exist yet."""
    with _writing(target):
        if target.exists():
            raise BadInput(f"Expected {target} not to exist yet; found a file there.")
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=".backup-", dir=target.parent)


@contextmanager
def _writing(target: Path, draft: Path | None = None) -> Iterator[None]:
    """Translate failures to write an archive; those of other files than its draft pass unchanged."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise
        raise TryAgain(f"Expected room on the disk for {target}; found none.") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise TryAgain(f"Expected room on the disk for {target}; found none.") from None
        if draft is not None and error.filename not in (None, str(draft)):
            raise
        raise BadInput(
            f"Expected {target} to be writable; found: {error.strerror}. Give a file in another folder."
        ) from None


def _copy_database(database: Path, copy: Path) -> None:
    """A consistent copy, also while another process writes."""
    with (
        closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def _members(store: Store, database: Path) -> Iterator[tuple[str, Path]]:
    """The files of the versions and of the audit, by their names in the archive."""
    folders = {_ARTIFACTS: database.parent / "artifacts", _OF_AUDIT: store.home / AUDIT}
    for prefix, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink():
                yield f"{prefix}/{path.relative_to(folder).as_posix()}", path


def _write(archive: Path, members: dict[str, Path]) -> int:
    hashes = {}
    with archive.open("xb") as file, tarfile.open(fileobj=file, mode="w") as backup:
        for name, path in members.items():
            hashes[name] = files.sha256(path)
            backup.add(path, name, recursive=False)
        listed = json.dumps(hashes, indent=2).encode()
        info = tarfile.TarInfo(_LIST)
        info.size = len(listed)
        backup.addfile(info, io.BytesIO(listed))
    return len(hashes)


def _opened(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive, mode="r:")
    except FileNotFoundError:
        raise BadInput(f"Expected the backup {archive} to exist; found nothing there.") from None
    except (tarfile.TarError, OSError, EOFError) as error:
        raise _damaged(archive, str(error)) from None


def _damaged(archive: Path, found: str) -> BadInput:
    return BadInput(f"Expected {archive} to be a backup of a registry; found {found}.")


def _read_list(archive: Path, backup: tarfile.TarFile) -> dict[str, str]:
    """The hash of each member, by its name, which is checked before it becomes a path."""
    member = _member(backup, _LIST)
    if member is None or member[0].size > JSON_BYTES:
        raise _damaged(archive, f"no {_LIST} in it")
    try:
        hashes = json.loads(member[1].read())
    except (ValueError, RecursionError, tarfile.TarError, OSError):
        hashes = None
    if not isinstance(hashes, dict) or _DATABASE not in hashes:
        raise _damaged(archive, f"a damaged {_LIST} in it")
    for name, hashed in hashes.items():
        parts = PurePosixPath(name).parts
        known = name == _DATABASE or name.startswith((f"{_ARTIFACTS}/", f"{_OF_AUDIT}/"))
        if not known or ".." in parts or "\0" in name or not isinstance(hashed, str):
            raise _damaged(archive, f"the member {name[:100]!a}")
    return hashes


def _check(archive: Path, backup: tarfile.TarFile, hashes: dict[str, str]) -> None:
    """Check every member before anything is written."""
    for name, hashed in hashes.items():
        member = _member(backup, name)
        if member is None:
            raise _damaged(archive, f"no {name[:100]!a} in it")
        if _sha256(member[1]) != hashed:
            raise _damaged(archive, f"another content of {name[:100]!a} than when it was made")


def _member(backup: tarfile.TarFile, name: str) -> tuple[tarfile.TarInfo, IO[bytes]] | None:
    """A plain file in the archive; None without one. Links and devices are none."""
    try:
        info = backup.getmember(name)
        content = backup.extractfile(info) if info.isreg() else None
    except (KeyError, tarfile.TarError, OSError):
        return None
    return (info, content) if content is not None else None


def _sha256(content: IO[bytes]) -> str:
    """The SHA-256 of a member; empty if the archive ends within it."""
    hashed = hashlib.sha256()
    try:
        while block := content.read(_BLOCK):
            hashed.update(block)
    except tarfile.TarError:
        return ""
    return hashed.hexdigest()


def _target(store: Store, database: Path, name: str) -> Path:
    if name == _DATABASE:
        return database
    if name.startswith(f"{_ARTIFACTS}/"):
        return database.parent / "artifacts" / name.removeprefix(f"{_ARTIFACTS}/")
    return store.home / AUDIT / name.removeprefix(f"{_OF_AUDIT}/")


def _restore(backup: tarfile.TarFile, name: str, target: Path, hashed: str) -> bool:
    """Write a member to its place; False if it is there already."""
    if target.is_file() and (name.startswith(f"{_OF_AUDIT}/") or files.sha256(target) == hashed):
        return False
    member = _member(backup, name)
    assert member is not None
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("xb") as file:
            shutil.copyfileobj(member[1], file)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
    return True
