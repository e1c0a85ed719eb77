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
    """The files in the sub-folders of a folder, in a fixed order; empty if no image is among them."""
    below = [path for path in visible(folder) if path.parent != folder]
    kept = [path for path in below if path.name.lower() not in _STRAY]
    return kept if any(_is_image(path) for path in kept) else []


def examples(
    folder: Path, paths: list[Path], classes: tuple[str, ...] | None
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The examples of an image folder, and the names of its classes by label.

    Args:
        folder: folder with the splits or classes.
        paths: its files.
        classes: names of the classes by label; None takes the names of the folders, sorted as
            numbers if they are.

    Raises:
        BadInput: if a file lies at another depth, is no image, or is in a folder that is no class.
    """
    inside = [path.relative_to(folder) for path in paths]
    has_splits = all(path.parts[0].lower() in SPELLINGS for path in inside)
    _check_depth(folder, inside, has_splits)
    known = classes or _sorted_classes({path.parent.name for path in inside})
    _check_classes(folder, inside, known)
    label = {name: number for number, name in enumerate(known)}
    files = [path.as_posix() for path in inside]
    labels = [label[path.parent.name] for path in inside]
    splits = [SPELLINGS[path.parts[0].lower()] if has_splits else "" for path in inside]
    return frame(files, [WHOLE] * len(files), labels, splits), known


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS


def _check_depth(folder: Path, inside: list[Path], has_splits: bool) -> None:
    """Refuse files at another depth than images, and files that are no images."""
    depth = 3 if has_splits else 2
    wrong = [path for path in inside if len(path.parts) != depth or not _is_image(path)]
    if wrong:
        layout = "split/class/image" if has_splits else "class/image"
        raise BadInput(
            f"Expected files in {folder} to be {layout}; found {len(wrong)} that are not, the "
            f"first {wrong[0]}."
        )


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Names in the order of labels: numbers by value, then other names."""
    numbers = sorted(
        (name for name in names if name.isdecimal()), key=lambda name: (int(name), name)
    )
    return (*numbers, *sorted(name for name in names if not name.isdecimal()))


def _check_classes(folder: Path, inside: list[Path], known: tuple[str, ...]) -> None:
    """Refuse folders that `classes.json` does not list."""
    unknown = [path for path in inside if path.parent.name not in known]
    if unknown:
        raise BadInput(
            "Expected class folders to be those of classes.json; found "
            f"{folder / unknown[0].parent}, which is not."
        )


def images(paths: list[Path]) -> Iterator[Chunk]:
    """The content of all files, in chunks."""
    for start in range(0, len(paths), FILES_AT_ONCE):
        yield [path.read_bytes() for path in paths[start : start + FILES_AT_ONCE]]
