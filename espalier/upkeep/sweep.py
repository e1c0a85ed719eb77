"""Leftovers of killed processes in `.espalier`: found, and removed at a moment when nothing uses them.

| leftover | stale when |
|---|---|
| drafts of folders in `work`, hidden files that a write has left, outcomes of stages | unchanged for `drafts_hours` |
| checkpoints of an entry that `params.yaml` has no more | unchanged for `drafts_hours` |
| other checkpoints, teachers' outputs | unchanged for `unused_days` |
| teachers' outputs above `bank_bytes` in all | the oldest first, down to that size |

The bounds are the section `sweep` of `params.yaml`. Nothing is removed while a process holds the lock on
a stage, a model or a slot.
"""

import os
import re
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import inf
from pathlib import Path
from stat import S_ISREG

from espalier.locks import is_locked
from espalier.params.sections import Sweep
from espalier.paths import MODELS, REPORTS, STATE

_HOUR, _DAY = 3600.0, 24 * 3600.0  # seconds
_HIDDEN = re.compile(r"\..+\.[0-9a-f]{32}")  # a file of `files.write` before it is renamed
_KEY = re.compile(r"(.+)-[0-9a-f]{32}")  # name of an entry and key of its inputs


@dataclass(frozen=True)
class Leftover:
    """A file or folder that nothing needs.

    Attributes:
        path: its path.
        kind: its description.
        bytes: size of its content.
    """

    path: Path
    kind: str
    bytes: int


def find_leftovers(
    root: Path, names: Collection[str], bounds: Sweep, now: float | None = None
) -> list[Leftover]:
    """The stale leftovers of a project.

    Args:
        root: the project.
        names: the entries of `params.yaml`.
        bounds: age and size above which they are stale.
        now: seconds since 1970; by default the time of the call.
    """
    now = time.time() if now is None else now
    old = dict(_old(root, names, bounds, now))
    outermost = [path for path in old if old.keys().isdisjoint(path.parents)]
    found = [Leftover(path, old[path], size_of(path)) for path in outermost]
    return [*found, *find_in_bank(root / STATE / "bank", bounds, now)]


def find_in_bank(bank: Path, bounds: Sweep, now: float) -> list[Leftover]:
    """The stale outputs of teachers: the unused ones, and of the others the oldest above the size.

    Args:
        bank: folder of the outputs of all teachers.
        bounds: age and size above which they are stale.
        now: seconds since 1970.
    """
    found, kept = [], 0
    for path in sorted(children(bank), key=_changed, reverse=True):
        size = size_of(path)
        if is_unused(path, bounds, now):
            found.append(Leftover(path, "outputs of a teacher", size))
            continue
        kept += size
        if kept > bounds.bank_bytes:
            found.append(Leftover(path, "outputs of a teacher, above the bound", size))
    return found


def is_unused(path: Path, bounds: Sweep, now: float) -> bool:
    """Whether a file, and everything in a folder, is unchanged for `unused_days`."""
    return now - _changed(path) > bounds.unused_days * _DAY


def sweep(leftovers: Collection[Leftover], root: Path) -> int:
    """Remove leftovers unless a process is at work in the project; returns the bytes that are free now."""
    return 0 if is_at_work(root) else remove(leftovers)


def remove(leftovers: Collection[Leftover]) -> int:
    """Remove leftovers; returns the bytes that are free now."""
    for leftover in leftovers:
        if leftover.path.is_dir() and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path, ignore_errors=True)
        else:
            leftover.path.unlink(missing_ok=True)
    return sum(leftover.bytes for leftover in leftovers if not leftover.path.exists())


def is_at_work(root: Path) -> bool:
    """Whether a process makes a model or holds a slot of this project."""
    state = root / STATE
    locks = [*children(state / "locks"), *children(state / "slots")]
    return any(is_locked(path) for path in locks if path.is_file() and path.suffix != ".json")


def _old(
    root: Path, names: Collection[str], bounds: Sweep, now: float
) -> Iterator[tuple[Path, str]]:
    """The leftovers outside of the bank that are stale by their age, with their descriptions."""
    for path, kind, limit in _aging(root, names, bounds):
        if now - _changed(path) > limit:
            yield path, kind


def _aging(root: Path, names: Collection[str], bounds: Sweep) -> Iterator[tuple[Path, str, float]]:
    """Everything there that can become stale, with its description and the age in seconds at which it does."""
    state, soon, late = root / STATE, bounds.drafts_hours * _HOUR, bounds.unused_days * _DAY
    for path in (*children(state / "work"), *children(state / "outcomes")):
        yield path, "draft of a process that has ended", soon
    for path in _hidden(root):
        yield path, "file that was not completed", soon
    for path in children(state / "checkpoints"):
        entry = _KEY.fullmatch(path.name)
        if entry:
            yield path, f"checkpoints of {entry[1]}", late if entry[1] in names else soon


def _hidden(root: Path) -> list[Path]:
    """Files that `files.write` has not renamed, outside of drafts."""
    folders, work = (root / STATE, root / MODELS, root / REPORTS), root / STATE / "work"
    found = (path for folder in folders for path in _present(folder))
    return [
        path for path in found if _HIDDEN.fullmatch(path.name) and not path.is_relative_to(work)
    ]


def children(folder: Path) -> list[Path]:
    """The files and folders in a folder, by name; none if it is missing."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(folder.iterdir())
    return []


def _changed(path: Path) -> float:
    """The last change of a file, or of anything in a folder; infinite if it is missing."""
    return max((found.st_mtime for found in _present(path).values()), default=inf)


def size_of(path: Path) -> int:
    """The bytes of a file, or of everything in a folder."""
    return sum(found.st_size for found in _present(path).values() if S_ISREG(found.st_mode))


def _present(path: Path) -> dict[Path, os.stat_result]:
    """A file or folder and everything in it, without what another process renames or removes meanwhile."""
    found = {}
    inner = (Path(top, name) for top, folders, names in os.walk(path) for name in folders + names)
    for one in chain((path,), inner):
        with suppress(FileNotFoundError, NotADirectoryError):
            found[one] = one.lstat()
    return found
