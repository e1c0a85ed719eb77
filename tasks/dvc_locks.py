"""DVC's locks on files: the commands that hold them, and locks that killed commands have left.

DVC records in `.dvc/tmp/rwlock` the process and the command that reads or writes each path, and drops the
record of a process that does not exist any more. It keeps that of a zombie and that of a number
which another process has got since, and cannot read a record that was cut off.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from espalier import files
from espalier.dvc_record import RECORD, is_damaged, restore_record
from espalier.errors import BadInput
from espalier.holders import clock

_MODES = ("write", "read")
_CLOCK = 2.0  # seconds by which the start of a process may be wrong


@dataclass(frozen=True)
class Command:
    """A running DVC command that uses files.

    Attributes:
        pid: number of its process.
        words: its command line.
        since: start of the process in seconds since 1970.
    """

    pid: int
    words: str
    since: float

    def __str__(self) -> str:
        program, _, arguments = self.words.partition(" ")
        name = Path(program).name
        name = Path(program).parent.name if name == "__main__.py" else name
        spelled = " ".join([name, *arguments.replace("--wait-for-lock ", "").split()])
        return f"`{spelled}` (process {self.pid}, since {clock(self.since)})"


def find_blockers(
    root: Path, reads: tuple[str, ...], writes: tuple[str, ...]
) -> tuple[Command, ...]:
    """The running commands that keep DVC from a stage.

    Args:
        root: the project.
        reads: paths of its dependencies.
        writes: paths of its outputs.
    """
    found: dict[int, Command] = {}
    path = _record(root)
    for mode, place, info in _entries(_read(path) or {}):
        wanted = (*reads, *writes) if mode == "write" else writes
        if any(_overlap(place, one) for one in wanted):
            command = _running(info, path)
            if command:
                found[command.pid] = command
    return tuple(found.values())


def release_dead(root: Path) -> int:
    """Drop the records of commands that have ended, and a record that cannot be read.

    Returns:
        The number of records that were dropped; 0 as well while another command changes them.
    """
    path = _record(root)
    if not path.is_file() or not _has_dead(path) or _has_other_locks(root):
        return 0
    with suppress(_lock_error()), _guard(root):
        content = _read(path)
        if content is None:
            files.write(path, "{}")
            return 1
        dead = [entry for entry in _entries(content) if _running(entry[2], path) is None]
        for mode, place, info in dead:
            _drop(content, mode, place, info)
        files.write(path, json.dumps(content))
        return len(dead)
    return 0


def mend_record(root: Path, *, replace: bool = True) -> bool:
    """Replace a `dvc.lock` that a killed DVC has cut off by its copy; False as well while DVC is at work.

    Args:
        root: the project.
        replace: whether to do so; otherwise such a record is refused.

    Raises:
        BadInput: if it is not to be replaced, or git has left both sides of a merge in it.
    """
    from dvc.lock import make_lock  # here: importing DVC takes 0.3 s

    tmp = root / ".dvc" / "tmp"
    if not is_damaged(root) or not tmp.is_dir() or _has_other_locks(root):
        return False
    with suppress(_lock_error()), make_lock(str(tmp / "lock"), tmp_dir=str(tmp)):
        if is_damaged(root):  # DVC may have been writing it
            if not replace:
                raise BadInput(
                    f"Expected {root / RECORD} to be complete; found it cut off, as by a killed DVC: "
                    "`espalier run` restores it from its copy."
                )
            restore_record(root)
            return True
    return False


def _record(root: Path) -> Path:
    return root / ".dvc" / "tmp" / "rwlock"


@contextmanager
def _guard(root: Path) -> Iterator[None]:
    """DVC's lock on its record."""
    from dvc.lock import make_lock  # here: importing DVC takes 0.3 s

    path = root / ".dvc" / "tmp" / "rwlock.lock"
    with make_lock(str(path), tmp_dir=str(path.parent)):
        yield


def _has_other_locks(root: Path) -> bool:
    """Whether DVC is configured to guard its record by links, which a crash leaves for ever."""
    configs = (root / ".dvc" / "config", root / ".dvc" / "config.local")
    return any("hardlink_lock" in path.read_text() for path in configs if path.is_file())


def _lock_error() -> type[Exception]:
    from dvc.lock import LockError

    error: type[Exception] = LockError
    return error


def _read(path: Path) -> dict[str, Any] | None:
    """The record; empty if there is none, None if it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        return None
    modes = [content.get(mode, {}) for mode in _MODES] if isinstance(content, dict) else [None]
    return content if all(isinstance(mode, dict) for mode in modes) else None


def _has_dead(path: Path) -> bool:
    content = _read(path)
    return content is None or any(_running(info, path) is None for *_, info in _entries(content))


def _entries(content: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Mode, path, and holder of each entry."""
    found = []
    for mode in _MODES:
        for place, infos in content.get(mode, {}).items():
            several = infos if isinstance(infos, list) else [infos]
            found += [(mode, place, info) for info in several]
    return found


def _drop(content: dict[str, Any], mode: str, place: str, info: dict[str, Any]) -> None:
    infos = content[mode][place]
    left = [one for one in infos if one != info] if isinstance(infos, list) else []
    if left:
        content[mode][place] = left
    else:
        del content[mode][place]


def _running(info: dict[str, Any], path: Path) -> Command | None:
    """The command of an entry, if its process is still the one that made it."""
    pid, words = int(info["pid"]), str(info["cmd"])
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        since, line = process.create_time(), " ".join(process.cmdline())
        recorded = path.stat().st_mtime
    except (psutil.NoSuchProcess, FileNotFoundError):
        return None
    except psutil.AccessDenied:  # of another user: it is running
        return Command(pid, words, 0.0)
    arguments = words.partition(" ")[2]
    # the number was given to another process
    if since > recorded + _CLOCK or not line.endswith(arguments):
        return None
    return Command(pid, words, since)


def _overlap(path: str, other: str) -> bool:
    """Whether a path lies in another one, or the other in it."""
    first, second = Path(path), Path(other)
    return first.is_relative_to(second) or second.is_relative_to(first)
