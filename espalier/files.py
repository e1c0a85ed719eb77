"""Atomic writing of files and folders, and folders with a manifest of their hashes.

Everything is written beside its final path, flushed to the disk and renamed. A folder is *sealed* by
a manifest with the SHA-256 and size of each of its files, which is written last; a folder without a
valid manifest is incomplete.
"""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from espalier.errors import BadInput
from espalier.paths import MANIFEST


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write(path: Path, content: bytes | str) -> None:
    """Write a file atomically, also with respect to a crash."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        with beside.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def write_hashed(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a file whose name contains its hash, by which `find_hashed` recognises damage."""
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
    write(path, content)
    return path


def find_hashed(folder: Path, stem: str, suffix: str) -> list[Path]:
    """The intact files that `write_hashed` wrote under this stem."""
    paths = sorted(folder.glob(f"{stem}-{'?' * 32}{suffix}"))
    return [path for path in paths if path.name == f"{stem}-{sha256(path)[:32]}{suffix}"]


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, indented, atomically. NaN and infinities, which JSON lacks, are refused."""
    write(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        BadInput: if it is missing or not JSON.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise BadInput(f"Expected {path} to exist; found nothing there.") from None
    except ValueError as error:
        raise BadInput(f"Expected {path} to hold JSON; found {error}.") from None


@contextmanager
def replacing(folder: Path, workshop: Path) -> Iterator[Path]:
    """Build a folder in `workshop`, on the same file system, then rename it to `folder`.

    The former content of `folder` stays until the new one is complete; after an error it is
    unchanged.
    """
    draft = workshop / f"{folder.name}.{uuid.uuid4().hex}"
    former = draft.with_name(f"{draft.name}.former")
    draft.mkdir(parents=True)
    try:
        yield draft
        for path in sorted(draft.rglob("*")):
            _flush(path)
        _flush(draft)
        folder.parent.mkdir(parents=True, exist_ok=True)
        if folder.exists():
            folder.rename(former)
        draft.rename(folder)
        _flush(folder.parent)
        shutil.rmtree(former, ignore_errors=True)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def seal(folder: Path) -> None:
    """Write the manifest of a folder: the hash and size of every file in it."""
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST
    )
    entries = {
        path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
        for path in files
    }
    write_json(folder / MANIFEST, {"files": entries})


def verify(folder: Path) -> dict[str, str]:
    """Check a sealed folder against its manifest.

    Returns:
        The SHA-256 of each file, by its name.

    Raises:
        BadInput: if the manifest or a file is missing, or a file has changed; it names the file.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise BadInput(
            f"Expected {folder} to be sealed by a {MANIFEST}; found none: it was not completed; "
            "make it again."
        )
    entries = read_json(manifest)["files"]
    for name, entry in entries.items():
        path = folder / name
        found = sha256(path) if path.is_file() else "no file"
        if found != entry["sha256"]:
            raise BadInput(
                f"Expected {path} to have the SHA-256 {entry['sha256'][:12]}… that {MANIFEST} "
                "recorded; "
                f"found {found if found == 'no file' else found[:12] + '…'}: it was changed or "
                "damaged; make it again."
            )
    return {name: entry["sha256"] for name, entry in entries.items()}


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
