"""Leftovers of killed processes in `.espalier`: found, and removed at a moment when nothing uses them.

| leftover | stale when |
|---|---|
| drafts of folders in `work`, hidden files that a write has left, outcomes of stages | unchanged for a day |
| checkpoints of an entry that `params.yaml` has no more | unchanged for a day |
| other checkpoints, teachers' outputs | unchanged for 30 days |
| teachers' outputs above 20 GB in all | the oldest first, down to that size |

Nothing is removed while a process holds the lock on a stage, a model or a slot.
"""

import re
import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from espalier.locks import is_locked
from espalier.paths import MODELS, REPORTS, STATE

DRAFTS = 24 * 3600.0  # seconds without a change after which a draft is stale
UNUSED = 30 * 24 * 3600.0  # the same for checkpoints and teachers' outputs
BANK_BYTES = 20_000_000_000  # of teachers' outputs that are kept
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


def find_leftovers(root: Path, names: Collection[str], now: float | None = None) -> list[Leftover]:
    """The stale leftovers of a project.

    Args:
        root: the project.
        names: the entries of `params.yaml`.
        now: seconds since 1970; by default the time of the call.
    """
    now, state = time.time() if now is None else now, root / STATE
    old = dict(_old(root, names, now))
    outermost = [path for path in old if old.keys().isdisjoint(path.parents)]
    found = [Leftover(path, old[path], _size(path)) for path in outermost]
    rest = [path for path in _children(state / "bank") if now - _changed(path) <= UNUSED]
    rest.sort(key=_changed, reverse=True)
    kept = 0
    for path in rest:
        size = _size(path)
        kept += size
        if kept > BANK_BYTES:
            found.append(Leftover(path, "outputs of a teacher, above the bound", size))
    return found


def sweep(leftovers: Collection[Leftover], root: Path) -> int:
    """Remove leftovers unless a process is at work in the project; returns the bytes that are free now."""
    if is_at_work(root):
        return 0
    for leftover in leftovers:
        if leftover.path.is_dir() and not leftover.path.is_symlink():
            shutil.rmtree(leftover.path, ignore_errors=True)
        else:
            leftover.path.unlink(missing_ok=True)
    return sum(leftover.bytes for leftover in leftovers if not leftover.path.exists())


def is_at_work(root: Path) -> bool:
    """Whether a process makes a model or holds a slot of this project."""
    state = root / STATE
    locks = [*_children(state / "locks"), *_children(state / "slots")]
    return any(is_locked(path) for path in locks if path.is_file() and path.suffix != ".json")


def _old(root: Path, names: Collection[str], now: float) -> Iterator[tuple[Path, str]]:
    """The leftovers that are stale by their age, with their descriptions."""
    for path, kind, limit in _aging(root, names):
        if now - _changed(path) > limit:
            yield path, kind


def _aging(root: Path, names: Collection[str]) -> Iterator[tuple[Path, str, float]]:
    """Everything that can become stale, with its description and the age at which it does."""
    state = root / STATE
    for path in (*_children(state / "work"), *_children(state / "outcomes")):
        yield path, "draft of a process that has ended", DRAFTS
    for path in _hidden(root):
        yield path, "file that was not completed", DRAFTS
    for path in _children(state / "checkpoints"):
        entry = _KEY.fullmatch(path.name)
        if entry:
            yield path, f"checkpoints of {entry[1]}", UNUSED if entry[1] in names else DRAFTS
    for path in _children(state / "bank"):
        yield path, "outputs of a teacher", UNUSED


def _hidden(root: Path) -> list[Path]:
    """Files that `files.write` has not renamed, outside of drafts."""
    folders = (root / STATE, root / MODELS, root / REPORTS)
    found = (path for folder in folders for path in folder.rglob(".*"))
    work = root / STATE / "work"
    return [
        path for path in found if _HIDDEN.fullmatch(path.name) and not path.is_relative_to(work)
    ]


def _children(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _changed(path: Path) -> float:
    """The last change of a file, or of anything in a folder."""
    return max(
        (one.lstat().st_mtime for one in (path, *path.rglob("*")) if one.exists()), default=0.0
    )


def _size(path: Path) -> int:
    return sum(one.lstat().st_size for one in (path, *path.rglob("*")) if one.is_file())
