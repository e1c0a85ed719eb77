"""Who writes a run: a process that holds a lock as long as it lives, so that death is told from slowness."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from espalier.paths import STATE

Kind = Literal["live", "registering"]  # what is written
DEAD_AFTER = (
    600.0  # seconds without a sign of life, where nobody here can see whether the owner lives
)


@contextmanager
def owning(root: Path, kind: Kind = "live") -> Iterator[str]:
    """Be an owner while the block runs.

    Yields:
        A name that nobody else has or will have. Its lock is gone with the process, however that ends; the file stays,
        for whoever settles what the owner left, until it is forgotten.
    """
    name = uuid.uuid4().hex
    path = _path(root, name, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield name


def lives(root: Path, name: str, kind: Kind = "live") -> bool | None:
    """Whether an owner lives; nothing if this project does not know it: it is of another, or on another machine."""
    path = _path(root, name, kind)
    if not name.isalnum() or not path.is_file():
        return None
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def writes(root: Path, name: str, seen: float, kind: Kind = "live") -> bool:
    """Whether an owner is still at work: its lock decides where this project has it, else its last sign of life.

    Args:
        root: The project.
        name: The owner.
        seen: When it last gave a sign of life, in seconds since 1970.
        kind: What it writes.
    """
    living = lives(root, name, kind)
    return time.time() - seen < DEAD_AFTER if living is None else living


def dead(root: Path) -> tuple[str, ...]:
    """The owners of live runs of this project that died at work."""
    names = [path.stem for path in _folder(root, "live").glob("*.lock")]
    return tuple(name for name in names if lives(root, name) is False)


def forget(root: Path, name: str, kind: Kind = "live") -> None:
    """Drop what is left of an owner, once it is settled. A name that a store tells may be no name, but a path."""
    if name.isalnum():
        _path(root, name, kind).unlink(missing_ok=True)


def _path(root: Path, name: str, kind: Kind) -> Path:
    return _folder(root, kind) / f"{name}.lock"


def _folder(root: Path, kind: Kind) -> Path:
    return root / STATE / "locks" / kind
