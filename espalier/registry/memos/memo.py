"""Memos: a check that would find the same again is not repeated.

A memo holds what a command found, and one digest over that and everything that it had read:

| read | places |
|---|---|
| the project | `params.yaml`, `mlflow/gates.yaml`, `models/`, the test split, tables and predictions of the report |
| the store | its database with the journals, the audit, the count of uses of the test split |
| the versions | every file of each version that was looked at |
| the program | this package, its libraries, Python, the processor, the arguments of the command |

The files are hashed again each time. A memo counts only if nothing differs by a byte: a moved alias, a
damaged file of a version, an edited gate, and another library each void it, and the command runs in full.
Deleting a memo costs only time.

Only a local store can be compared so: with a server, every command runs in full.
"""

import os
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from espalier import files
from espalier.data.names import TEST
from espalier.errors import BadInput
from espalier.measures.device import processor
from espalier.paths import (
    AUDIT,
    CONDITIONS,
    DATASET,
    GATES,
    MANIFEST,
    MODELS,
    PARAMS,
    PREDICTIONS,
    PREPARED,
    REPORTS,
    SPLIT_USES,
    STATE,
    TABLE,
    content_files,
)
from espalier.registry.connection import Store, find_store

_FOLDER = Path(STATE, "memos")
_JOURNALS = ("", "-journal", "-wal")  # endings of the files of a database
_LIBRARIES = (
    "mlflow",
    "numpy",
    "onnx",
    "onnxruntime",
    "pandas",
    "safetensors",
    "scipy",
    "timm",
    "torch",
    "torchvision",
)

Hashes = dict[str, str]


class _Unreadable(Exception):
    """A place that no memo can cover, such as a link to a folder."""


@dataclass(frozen=True)
class State:
    """A project and its local store at one moment.

    Attributes:
        root: the project.
        project: hash of each file of the project that decides about its models.
        store: hash of each file of the store that holds versions, aliases and the audit.
    """

    root: Path
    project: Hashes
    store: Hashes

    def keep(
        self,
        name: str,
        found: Mapping[str, Any],
        *,
        arguments: Mapping[str, Any],
        folders: Iterable[Path],
    ) -> None:
        """Write the memo of a command, unless project or store have changed since this state.

        Args:
            name: name of the command.
            found: what it has found.
            arguments: arguments of the command.
            folders: folders of the versions that it has looked at.
        """
        looked_at = sorted({str(folder) for folder in folders})
        now = take_state(self.root)
        key = now and _key(now, arguments, looked_at, found)
        if now == self and key is not None:
            memo = {"key": key, "folders": looked_at, "found": dict(found)}
            with suppress(OSError):  # without room for a memo the command is only repeated
                files.write_json(self.root / _FOLDER / f"{name}.json", memo)


def take_state(root: Path) -> State | None:
    """The state of a project and its store; None if it cannot be compared, as that of a server."""
    try:
        store = find_store(root)
        if store.database is None or os.environ.get("MLFLOW_REGISTRY_URI"):
            return None
        return State(root, _hashes(root, _project(root)), _hashes(root, _store(store)))
    except (BadInput, OSError, _Unreadable):
        return None


def read_memo(root: Path, name: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the memo of a command: what it found, or None if it may find something else now.

    Args:
        root: the project.
        name: name of the command.
        arguments: arguments of the command.
    """
    path = root / _FOLDER / f"{name}.json"
    if not path.is_file():
        return None
    try:
        memo = files.read_json_object(path)
        folders, found = list(map(str, memo["folders"])), dict(memo["found"])
    except (BadInput, KeyError, TypeError, ValueError):
        return None
    now = take_state(root)
    key = now and _key(now, arguments, folders, found)
    return found if key is not None and key == memo.get("key") else None


def holds(folder: Path, content: str) -> bool:
    """Whether the files of a version are those of a content, by their hashes now."""
    try:
        hashes = _hashes(folder, _tree(folder))
    except (OSError, _Unreadable):
        return False
    return files.digest({name: hashes.get(name) for name in content_files(hashes)}) == content


def _project(root: Path) -> list[Path]:
    """The files of a project that decide about its models."""
    prepared, reports = root / PREPARED, root / REPORTS
    single = [root / PARAMS, root / GATES]
    judged = [reports / name for name in (MANIFEST, TABLE, CONDITIONS)]
    data = [prepared / DATASET, prepared / f"{TEST}.safetensors"]
    return [*single, *judged, *data, *_tree(root / MODELS), *_tree(reports / PREDICTIONS)]


def _store(store: Store) -> list[Path]:
    """The files of a local store that hold versions, aliases and the audit, and the uses of test splits."""
    assert store.database is not None
    database = [store.database.with_name(f"{store.database.name}{end}") for end in _JOURNALS]
    return [*database, store.root / STATE / SPLIT_USES, *_tree(store.home / AUDIT)]


def _key(
    state: State, arguments: Mapping[str, Any], folders: Iterable[str], found: Mapping[str, Any]
) -> str | None:
    """The digest over everything that a command reads and finds; None if a part cannot be read."""
    try:
        return files.digest(
            {
                "arguments": dict(arguments),
                "project": state.project,
                "uri": find_store(state.root).uri,
                "store": state.store,
                "versions": [_hashes(state.root, _tree(Path(folder))) for folder in folders],
                "program": _program(),
                "found": dict(found),
            }
        )
    except (OSError, _Unreadable):
        return None


def _program() -> dict[str, str]:
    """Versions of the code, the libraries and the machine."""
    package = Path(__file__).parents[2]
    code = {
        str(path.relative_to(package)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in _tree(package, linked=False)
        if path.suffix == ".py"
    }
    return {
        "code": files.digest(code),
        "python": platform.python_version(),
        "processor": processor(),
        **{name: _version(name) for name in _LIBRARIES},
    }


def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return "missing"


def _tree(folder: Path, *, linked: bool = True) -> list[Path]:
    """All files below a folder.

    Args:
        folder: the folder; a missing one has no files.
        linked: whether to refuse links to folders, whose content would be missed, or to pass over them.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        if links and linked:
            raise _Unreadable(links[0])
        found += [Path(parent, name) for name in names]
    return sorted(found)


def _refuse(error: OSError) -> None:
    """Refuse a folder that cannot be read; a missing one has no files."""
    if not isinstance(error, FileNotFoundError):
        raise error


def _hashes(root: Path, paths: Iterable[Path]) -> Hashes:
    """The hash of each file, by its path relative to a folder where possible; of links with their targets."""
    found = {}
    for path in paths:
        name = path.relative_to(root) if path.is_relative_to(root) else path
        if not path.exists() and not path.is_symlink():
            found[name.as_posix()] = "missing"
            continue
        if not path.is_file():
            raise _Unreadable(path)
        target = f"{path.readlink()} " if path.is_symlink() else ""
        found[name.as_posix()] = f"{target}{files.sha256(path)}"
    return found
