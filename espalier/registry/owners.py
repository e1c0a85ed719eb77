"""Who writes a live run: a process that holds a lock as long as it lives, so that death is told from slowness."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from espalier.paths import STATE

_FOLDER = Path(STATE, "locks", "live")


@contextmanager
def owning(root: Path) -> Iterator[str]:
    """Be an owner while the block runs.

    Yields:
        A name that nobody else has or will have. Its lock is gone with the process, however that ends; the file stays,
        for whoever settles what the owner left, until it is forgotten.
    """
    name = uuid.uuid4().hex
    path = _path(root, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield name


def lives(root: Path, name: str) -> bool | None:
    """Whether an owner lives; nothing if this project does not know it: it is of another, or on another machine."""
    path = _path(root, name)
    if not name.isalnum() or not path.is_file():
        return None
    try:
        with FileLock(path).acquire(timeout=0):
            return False
    except Timeout:
        return True


def dead(root: Path) -> tuple[str, ...]:
    """The owners of this project that died at work."""
    names = [path.stem for path in (root / _FOLDER).glob("*.lock")]
    return tuple(name for name in names if lives(root, name) is False)


def forget(root: Path, name: str) -> None:
    """Drop what is left of an owner, once it is settled."""
    _path(root, name).unlink(missing_ok=True)


def _path(root: Path, name: str) -> Path:
    return root / _FOLDER / f"{name}.lock"
