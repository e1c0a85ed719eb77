"""Free space, compared with estimates before work begins: half a training on a full disk is lost time.

The estimates are lower bounds: the files that are certain, without a margin. So nothing is refused
that could succeed, and a disk that others fill meanwhile still ends in the sentence of a full disk.
"""

import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from espalier.errors import TryAgain


@dataclass(frozen=True)
class Need:
    """Files that some work will write.

    Attributes:
        folder: folder that will hold them; it need not exist.
        size: number of bytes.
        content: words for the message, such as `checkpoints`.
    """

    folder: Path
    size: int
    content: str


def require_space(needs: Iterable[Need]) -> None:
    """Compare what will be written with the free space of each file system.

    Raises:
        TryAgain: if a file system has too little; it names both sizes and the folder.
    """
    by_device: dict[int, list[Need]] = defaultdict(list)
    for need in needs:
        if need.size > 0:
            by_device[existing(need.folder).stat().st_dev].append(need)
    for together in by_device.values():
        folder, size = existing(together[0].folder), sum(need.size for need in together)
        free = free_bytes(folder)
        if size > free:
            content = " and ".join(dict.fromkeys(need.content for need in together))
            raise TryAgain(
                f"Expected at least {in_units(size)} of free space at {folder} for {content}; found "
                f"{in_units(free)}: free space on its file system and try again."
            )


def free_bytes(folder: Path) -> int:
    """Free bytes of the file system of a folder, which need not exist."""
    return shutil.disk_usage(existing(folder)).free


def existing(folder: Path) -> Path:
    """The nearest existing folder upwards."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def size_of_files(folder: Path) -> int:
    """Bytes of all files in a folder; 0 if it does not exist."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def in_units(size: int) -> str:
    """A number of bytes for a message.

    Example: 1,234,567 bytes are `1.2 MB`.
    """
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} bytes"
