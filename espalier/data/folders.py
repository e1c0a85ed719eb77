"""Data sets of files: `split/class/file`, or `class/file` without splits."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from espalier import files
from espalier.data.contents import readable_name, visible
from espalier.data.source import WHOLE, Chunk, frame
from espalier.data.split_names import ExampleFile, outer_splits, splits_of_examples
from espalier.errors import BadInput
from espalier.inputs.audio import ENDINGS as AUDIO_ENDINGS
from espalier.settings.limits import EXAMPLE_BYTES

FILES_AT_ONCE = 256
_BYTES_AT_ONCE = 64 * 2**20
ENDINGS = frozenset(
    {
        ".png",
        ".jpg",
        ".jpeg",
        ".jfif",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
    }
)
_HEIF = frozenset({".heic", ".heif"})
_REMEDY = (
    "rename them, or put all classes into the folders train, validation and test, whose names then count "
    "instead of those of the files"
)
_ENDINGS = {
    "image": ENDINGS | _HEIF,
    "audio": AUDIO_ENDINGS,
    "text": frozenset({".txt"}),
}


def endings_of(kind: str) -> frozenset[str]:
    """The endings of files of a kind of input."""
    return _ENDINGS.get(kind, frozenset())


def found(folder: Path, kind: str = "image") -> list[Path]:
    """The files of a kind in the sub-folders of a folder, in a fixed order.

    Raises:
        BadInput: if there are HEIF images and nothing to read them with.
    """
    if kind == "image":
        below = images_below(folder)
    else:
        below = [path for path in visible(folder) if path.suffix.lower() in endings_of(kind)]
    return [path for path in below if path.parent != folder]


def images_below(folder: Path) -> list[Path]:
    """The images in a folder and its sub-folders, in a fixed order.

    Raises:
        BadInput: if there are HEIF images and nothing to read them with.
    """
    below = visible(folder)
    heif = [path for path in below if path.suffix.lower() in _HEIF]
    if heif and find_spec("pillow_heif") is None:
        raise BadInput(
            f"Expected pillow-heif to be installed for {heif[0]} and {len(heif) - 1} others; found "
            "it is not: pip install pillow-heif."
        )
    return [path for path in below if path.suffix.lower() in ENDINGS | _HEIF]


def examples(
    folder: Path,
    paths: list[Path],
    classes: tuple[str, ...] | None,
    class_folder: str | None = None,
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The examples of class folders, and the names of its classes by label.

    Args:
        folder: folder with the splits or classes.
        paths: its files.
        classes: names of the classes by label; None takes the names of the folders, sorted as
            numbers if they are.
        class_folder: folder that is the class, `first` or `last`, where files lie deeper.

    Raises:
        BadInput: if a file lies at another depth, or in a folder that is no class.
    """
    inside = [path.relative_to(folder) for path in paths]
    outer = outer_splits(inside)
    below = [path.parts[bool(outer[0]) : -1] for path in inside]
    _check_depth(folder, inside, below, class_folder)
    place = 0 if class_folder == "first" else -1
    names = [parts[place] for parts in below]
    splits = _splits(folder, inside, below, place, outer)
    known = classes or _sorted_classes(set(names))
    _check_classes(paths, names, known)
    label = {name: number for number, name in enumerate(known)}
    names_of_files = [readable_name(path) for path in inside]
    labels = [label[name] for name in names]
    rows = [WHOLE] * len(names_of_files)
    return frame(names_of_files, rows, labels, splits), known


def _splits(
    folder: Path, inside: list[Path], below: list[tuple[str, ...]], place: int, outer: list[str]
) -> list[str]:
    """The splits of outermost folders, else of other folders and names; the class at a place is none."""
    named = [
        ExampleFile(path, parts[1:] if place == 0 else parts[:-1], parts[place])
        for path, parts in zip(inside, below, strict=True)
    ]
    return splits_of_examples(folder, named, outer, _REMEDY)


def _check_depth(
    folder: Path, inside: list[Path], below: list[tuple[str, ...]], class_folder: str | None
) -> None:
    """Refuse images that are in no class, and deeper ones whose class is not certain."""
    without = [path for path, parts in zip(inside, below, strict=True) if not parts]
    if without:
        raise BadInput(
            f"Expected images in {folder} to be split/class/image or class/image; found "
            f"{len(without)} in no class, the first {without[0]}."
        )
    deeper = [path for path, parts in zip(inside, below, strict=True) if len(parts) > 1]
    if deeper and class_folder is None:
        raise BadInput(
            f"Expected images in {folder} to be split/class/image or class/image; found "
            f"{len(deeper)} in deeper folders, the first {deeper[0]}. `data.class_folder: first` "
            "(or last) in params.yaml says which folder is the class."
        )


def _sorted_classes(names: set[str]) -> tuple[str, ...]:
    """Names in the order of labels: numbers by value, then other names."""
    numbers = sorted(
        (name for name in names if name.isdecimal()), key=lambda name: (int(name), name)
    )
    return (*numbers, *sorted(name for name in names if not name.isdecimal()))


def _check_classes(paths: list[Path], names: list[str], known: tuple[str, ...]) -> None:
    """Refuse folders that `classes.json` does not list."""
    unknown = [path for path, name in zip(paths, names, strict=True) if name not in known]
    if unknown:
        raise BadInput(
            "Expected class folders to be those of classes.json; found "
            f"{unknown[0].parent}, which is not."
        )


def contents(paths: list[Path]) -> Iterator[Chunk]:
    """The content of all files, in chunks of at most 256 files and about 64 MB."""
    chunk: list[bytes] = []
    held = 0
    for path in paths:
        content = files.read_bounded(path, EXAMPLE_BYTES)
        chunk.append(content)
        held += len(content)
        if len(chunk) == FILES_AT_ONCE or held > _BYTES_AT_ONCE:
            yield chunk
            chunk, held = [], 0
    if chunk:
        yield chunk
