"""Atomic writing of files, and folders with a manifest of their hashes.

A file is written beside its final path, flushed to the disk and renamed. A folder is *sealed* by a manifest with
the SHA-256 and size of each of its files, which is written last; a folder without a valid manifest is incomplete. A
manifest may come from elsewhere: its names are checked before they become paths, and its size before it is read.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from espalier.errors import BadInput, reason_of
from espalier.paths import MANIFEST
from espalier.reading import refuse_special
from espalier.settings.limits import JSON_BYTES, JSON_VALUES
from espalier.system_errors import naming

# names in manifests: one component, not hidden, of characters that every file system can hold
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# path of an object in a cache of DVC, to which DVC can link the files of a model
_DVC_OBJECT = re.compile(r".*/files/md5/[0-9a-f]{2}/[0-9a-f]{30}")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(value: Any) -> str:
    """The SHA-256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def write(path: Path, content: bytes | str) -> None:
    """Write a file atomically, also with respect to a crash."""
    with writing(path) as beside:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A path beside a file; what is written there replaces the file atomically after the block."""
    beside = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    with naming(path, beside):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.touch(exist_ok=False)
            mode = beside.stat().st_mode  # safetensors would allow the owner alone to read
            yield beside
            beside.chmod(mode)
            flush(beside)
            beside.replace(path)
        except BaseException:
            with suppress(OSError):  # on a disk that fails, the first error says why
                beside.unlink(missing_ok=True)
            raise
        flush(path.parent)


def write_hashed(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Write a file whose name contains its hash, by which `find_hashed` recognises damage."""
    path = folder / f"{stem}-{hashlib.sha256(content).hexdigest()[:32]}{suffix}"
    with naming(folder, path):
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
        BadInput: if it is missing, too large, of too many values, or not JSON.
    """
    content = read_bounded(path, JSON_BYTES)
    values = sum(content.count(mark) for mark in (b",", b"[", b"{"))
    if values > JSON_VALUES:  # an empty list of two bytes takes 64 in memory
        raise BadInput(
            f"Expected {path} to hold at most {JSON_VALUES:,} values; found about {values:,}."
        )
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"Expected {path} to hold JSON; found {reason_of(error)}.") from None


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        BadInput: if it is missing, too large, not JSON or another value.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise BadInput(f"Expected {path} to hold a JSON object; found a {type(content).__name__}.")
    return content


def read_bounded(path: Path, largest: int) -> bytes:
    """Read a file whose size is checked first.

    Args:
        path: The file.
        largest: Largest size in bytes.

    Raises:
        BadInput: if it is missing, no file, or larger.
    """
    refuse_special(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        # one more than its size, because Python allocates all that is asked for
        content = file.read(size + 1) if size <= largest else b""
    size = max(size, len(content))
    if size > largest:
        raise BadInput(f"Expected {path} to have at most {largest:,} bytes; found {size:,}.")
    return content


def seal(folder: Path, *, nested: bool = False) -> None:
    """Write the manifest of a folder: the hash and size of every file in it.

    Hidden files and ones without a plain name are left out, as no part of a model or report.

    Args:
        folder: the folder.
        nested: whether the files of its sub-folders count too.
    """
    entries = {
        name: {"sha256": sha256(folder / name), "bytes": (folder / name).stat().st_size}
        for name in sealed_names(folder, nested=nested)
    }
    write_json(folder / MANIFEST, {"files": entries})


def sealed_names(folder: Path, *, nested: bool = False) -> list[str]:
    """The names of the files in a folder that `seal` records, with `/` after that of a sub-folder."""
    paths = sorted(folder.rglob("*") if nested else folder.iterdir())
    names = [path.relative_to(folder).as_posix() for path in paths if path.is_file()]
    return [name for name in names if _is_plain(name, nested=nested)]


def _is_plain(name: str, *, nested: bool) -> bool:
    """Whether a manifest may have a name: it cannot lead out of the folder, and no part of it is hidden."""
    parts = name.split("/") if nested else [name]
    return name != MANIFEST and all(_PLAIN_NAME.fullmatch(part) for part in parts)


def read_manifest(folder: Path, *, nested: bool = False) -> dict[str, dict[str, Any]]:
    """The SHA-256 and the size of each file of a sealed folder, by its name, from its manifest.

    Args:
        folder: the folder.
        nested: whether names may have parts, as `predictions/teacher.parquet`.

    Raises:
        BadInput: if the folder or the manifest is missing, or the manifest is not as `seal` writes it:
            no files, a name that is not plain, or an entry without hash or size.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise BadInput(f"Expected {folder} to be a folder sealed by a {MANIFEST}; found no folder.")
    if not path.is_file():
        raise BadInput(
            f"Expected {folder} to be sealed by a {MANIFEST}; found none: it was not completed; "
            "make it again."
        )
    entries = read_json_object(path).get("files")
    if not isinstance(entries, dict) or not entries:
        raise BadInput(f"Expected {path} to list files under `files`; found none.")
    for name, entry in entries.items():
        if not _is_plain(name, nested=nested):
            raise BadInput(
                f"Expected the names in {path} to be plain file names of letters, digits and "
                f"'_', '.', '+', '-'; found {name[:100]!a}."
            )
        if not _is_entry(entry):
            raise BadInput(
                f"Expected {path} to record `sha256` and `bytes` of {name}; found another entry."
            )
    return entries


def verify(folder: Path, required: Iterable[str] = (), *, nested: bool = False) -> dict[str, str]:
    """Check a sealed folder against its manifest.

    Args:
        folder: the folder.
        required: names of files that the manifest has to list.
        nested: whether the files of its sub-folders were sealed too.

    Returns:
        The SHA-256 of each file, by its name.

    Raises:
        BadInput: if the folder, the manifest or a file is missing, or a file has changed or is reached by a link
            that leads out of the folder; it names the file.
    """
    entries = read_manifest(folder, nested=nested)
    for name in required:
        if name not in entries:
            found = ", ".join(sorted(entries))
            raise BadInput(
                f"Expected {folder} to hold {name} by its {MANIFEST}; found {found[:500]}."
            )
    for name, entry in entries.items():
        path = folder / name
        _refuse_outside(folder, path)
        found = sha256(path) if path.is_file() else "no file"
        if found != entry["sha256"]:
            raise BadInput(
                f"Expected {path} to have the SHA-256 {entry['sha256'][:12]}… that {MANIFEST} "
                "recorded; "
                f"found {found if found == 'no file' else found[:12] + '…'}: it was changed or "
                "damaged; `espalier repair` restores it or makes it again."
            )
    return {name: entry["sha256"] for name, entry in entries.items()}


def _is_entry(entry: Any) -> bool:
    """Whether a value has the form of a manifest's entry."""
    if not isinstance(entry, dict):
        return False
    hashed, size = entry.get("sha256"), entry.get("bytes")
    is_size = isinstance(size, int) and not isinstance(size, bool) and size >= 0
    return isinstance(hashed, str) and bool(_SHA256.fullmatch(hashed)) and is_size


def _refuse_outside(folder: Path, path: Path) -> None:
    """Refuse a file that a link places outside of a folder, except in a cache of DVC."""
    target = Path(os.path.realpath(path))
    inside = target.is_relative_to(os.path.realpath(folder))
    if not inside and not _DVC_OBJECT.fullmatch(target.as_posix()):
        raise BadInput(
            f"Expected {path} to be a file in its folder; found a link that leads out of it, to "
            f"{target}."
        )


def flush(path: Path) -> None:
    """Have the disk store a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
