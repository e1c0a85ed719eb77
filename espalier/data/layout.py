"""Layouts of folders of data, and their examples in one common form."""

from functools import partial
from pathlib import Path

from espalier import files
from espalier.data import folders, parquet, standard
from espalier.data.known import CIFAR10, CIFAR100, KNOWN
from espalier.data.source import CLASSES, SOURCE, Source, first
from espalier.errors import BadInput

UNNAMED = "data"


def read(folder: Path, expected: str | None = None) -> Source:
    """Find the data set in a folder, in any layout; images are read lazily.

    Args:
        folder: folder with parquet files, class folders, or the standard files of MNIST,
            Fashion-MNIST or CIFAR.
        expected: known data set that is required; None takes any.

    Raises:
        BadInput: if there is none, or its labels are wrong.
    """
    if not folder.is_dir():
        raise BadInput(
            f"Expected {folder} to be a folder with data; found "
            f"{'a file' if folder.exists() else 'nothing'}."
        )
    if folder.name in {KNOWN[name].folder for name in (CIFAR10, CIFAR100)}:
        folder = folder.parent  # the folder that torchvision creates
    source = _source(folder, expected)
    _refuse_labels(source)
    return source


def _source(folder: Path, expected: str | None) -> Source:
    name, classes = _name(folder), _classes(folder)
    if paths := parquet.found(folder):
        examples = parquet.examples(paths)
        return Source(
            folder, "parquet", name or UNNAMED, classes, examples, partial(parquet.images, paths)
        )
    if place := standard.idx_folder(folder, expected):
        data = standard.read_idx(folder, place)
        name = name or data.name or UNNAMED
        return Source(folder, "idx", name, classes or data.classes, data.examples, data.images)
    if cifar := standard.cifar_name(folder, expected):
        data = standard.read_cifar(folder, cifar)
        return Source(
            folder, "cifar", name or cifar, classes or data.classes, data.examples, data.images
        )
    if paths := folders.found(folder):
        examples, classes = folders.examples(folder, paths, classes)
        return Source(
            folder, "images", name or UNNAMED, classes, examples, partial(folders.images, paths)
        )
    raise BadInput(
        f"Expected {folder} to hold *.parquet, images in split/class/ or class/, or the standard "
        "files of MNIST, "
        "Fashion-MNIST or CIFAR; found none of them; `espalier data digits` brings the default "
        "data."
    )


def _name(folder: Path) -> str | None:
    path = folder / SOURCE
    if not path.is_file():
        return None
    content = files.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise BadInput(f'Expected {path} to hold {{"name": ...}}; found {str(content)[:80]}.')
    return str(content["name"])


def _classes(folder: Path) -> tuple[str, ...] | None:
    path = folder / CLASSES
    if not path.is_file():
        return None
    names = files.read_json(path)
    sound = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not sound or len(set(names)) != len(names) or not names:
        raise BadInput(
            f"Expected {path} to hold a list of different names; found {str(names)[:80]}."
        )
    return tuple(names)


def _refuse_labels(source: Source) -> None:
    labels = source.examples["label"]
    limit = len(source.classes) if source.classes else None
    wrong = (labels < 0) if limit is None else (labels < 0) | (labels >= limit)
    if wrong.any():
        row = first(wrong)
        bound = f"lie in 0..{limit - 1}, a label per class" if limit else "not be negative"
        raise BadInput(
            f"Expected labels to {bound}; found {int(wrong.sum())} that do not, the first in "
            f"{source.place(row)}: "
            f"{labels[row]}."
        )
    if limit is None and labels.nunique() <= int(labels.max()):
        _refuse_gap(source)
    if labels.nunique() < 2:
        raise BadInput(
            f"Expected {source.folder} to hold at least two classes; found one: {labels[0]}."
        )


def _refuse_gap(source: Source) -> None:
    labels = source.examples["label"]
    present, largest = set(labels), int(labels.max())
    absent = next(label for label in range(largest) if label not in present)
    raise BadInput(
        f"Expected every label from 0 to the largest to have examples; found none of {absent}; the "
        f"largest, {largest}, "
        f"is in {source.place(first(labels == largest))} (rows with it: "
        f"{int((labels == largest).sum())})."
    )
