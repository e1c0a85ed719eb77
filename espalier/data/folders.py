"""Data sets of image files: `split/class/file`, or `class/file` without splits."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from espalier.data.source import SPELLINGS, WHOLE, Chunk, frame, visible
from espalier.errors import BadInput

FILES_AT_ONCE = 256
ENDINGS = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
)
_STRAY = frozenset({"thumbs.db", "desktop.ini"})  # left in folders by desktops


def found(folder: Path) -> list[Path]:
    """The files in the sub-folders of a folder if there are images among them, in a fixed order; else none."""
    below = [
        path
        for path in visible(folder)
        if path.parent != folder and path.name.lower() not in _STRAY
    ]
    return below if any(path.suffix.lower() in ENDINGS for path in below) else []


def examples(
    folder: Path, paths: list[Path], classes: tuple[str, ...] | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The examples of an image folder, and the names of its classes by label.

    Args:
        folder: That holds the splits or classes.
        paths: Its files.
        classes: Names by label if they are known, else the names of the folders, sorted (as numbers
            if they are).

    Raises:
        BadInput: If a file lies at another depth, is no image, or is in a folder that is no class.
    """
    inside = [path.relative_to(folder) for path in paths]
    split = all(path.parts[0].lower() in SPELLINGS for path in inside)
    depth = 3 if split else 2
    for path in inside:
        if len(path.parts) != depth or path.suffix.lower() not in ENDINGS:
            shape = "split/class/image" if split else "class/image"
            wrong = sum(
                len(other.parts) != depth or other.suffix.lower() not in ENDINGS for other in inside
            )
            raise BadInput(
                f"Expected files in {folder} to be {shape}; found {wrong} that are not, the first "
                f"{path}."
            )
    names = {path.parts[-2] for path in inside}
    known = classes or tuple(
        sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))
    )
    for path in inside:
        if path.parts[-2] not in known:
            raise BadInput(
                "Expected class folders to be those of classes.json; found "
                f"{folder / path.parent}, which is not."
            )
    label = {name: number for number, name in enumerate(known)}
    splits = [SPELLINGS[path.parts[0].lower()] if split else "" for path in inside]
    labels = [label[path.parts[-2]] for path in inside]
    return frame([path.as_posix() for path in inside], [WHOLE] * len(inside), labels, splits), known


def images(paths: list[Path]) -> Iterator[Chunk]:
    """The content of all files, some at a time."""
    for start in range(0, len(paths), FILES_AT_ONCE):
        yield [path.read_bytes() for path in paths[start : start + FILES_AT_ONCE]]
