"""Layouts of folders of data, and their examples in one common form."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd

from espalier import files
from espalier.data import arrays, folders, listings, parquet, standard, tables, webdataset
from espalier.data.contents import say_skipped, visible
from espalier.data.known import CIFAR10, CIFAR100, KNOWN
from espalier.data.labels import Labels
from espalier.data.source import SOURCE, Chunk, Layout, Source, first, listed_classes
from espalier.errors import BadInput
from espalier.settings.data import DataSettings

UNNAMED = "data"
_FROM_ONE = " If the classes are numbered from 1, write `data.first_label: 1` in params.yaml."


def read(folder: Path, expected: str | None = None, settings: DataSettings | None = None) -> Source:
    """Find the data set in a folder, in any layout; examples are read lazily.

    Args:
        folder: folder with parquet files, class folders, a listing, tar files of WebDataset, tables,
            or the standard files of MNIST, Fashion-MNIST or CIFAR.
        expected: known data set that is required; None takes any.
        settings: settings of the data.

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
    settings = settings or DataSettings()
    source = _source(folder, expected, settings)
    if settings.heads and not source.heads:
        raise BadInput(
            f"Expected the labels of `data.heads` in columns of parquet, CSV, TSV or JSON lines; "
            f"found {source.layout} in {folder}: write a table with a column for each head."
        )
    if source.task == "classification":
        source = _numbered_from_zero(source, settings.first_label)
        _refuse_labels(source)
    elif source.examples["label"].nunique() < 2:
        label = source.examples["label"][0]
        raise BadInput(f"Expected {source.folder} to hold different labels; found only {label}.")
    return source


def _source(folder: Path, expected: str | None, settings: DataSettings) -> Source:
    """The data set in the first layout that the folder has."""
    if settings.arrays:
        return _arrays(folder, settings.arrays, settings)
    standard_set = _standard(folder, expected)
    if standard_set:
        return standard_set
    for layout in (_parquet, _listing, _webdataset, _folders, _tables):
        source = layout(folder, settings)
        if source:
            say_skipped(folder, set(source.files), "examples")
            return source
    wanted = f"{settings.kind} examples: " if settings.kind else ""
    raise BadInput(
        f"Expected {folder} to hold {wanted}*.parquet, images, clips or texts in "
        "split/class/ or class/, a *.csv or *.jsonl of paths, texts or features with labels, *.tar of "
        "WebDataset, or the standard files of MNIST, Fashion-MNIST or CIFAR; found none of them; "
        "`espalier data digits` brings the default data."
    )


def _standard(folder: Path, expected: str | None) -> Source | None:
    """A data set in the format of MNIST or CIFAR."""
    name, classes = _name(folder), listed_classes(folder)
    if list(folder.glob("*.parquet")):
        return None
    if place := standard.idx_folder(folder, expected):
        data = standard.read_idx(folder, place)
        name = name or data.name or UNNAMED
        return Source(
            folder,
            "idx",
            name,
            classes or data.classes,
            data.examples,
            data.images,
        )
    if cifar := standard.cifar_name(folder, expected):
        data = standard.read_cifar(folder, cifar)
        return Source(
            folder, "cifar", name or cifar, classes or data.classes, data.examples, data.images
        )
    return None


def _parquet(folder: Path, settings: DataSettings) -> Source | None:
    paths = parquet.found(folder)
    kind = parquet.kind_of(paths[0], settings) if paths else None
    if kind is None or settings.kind not in (None, kind):
        return None
    examples, labels = parquet.examples(folder, paths, kind, settings)
    contents = partial(parquet.contents, paths, kind, settings)
    return _named(
        folder,
        "parquet",
        kind,
        labels,
        examples,
        contents,
        paths,
    )


def _listing(folder: Path, settings: DataSettings) -> Source | None:
    for kind in _wanted(settings, ("image", "audio")):
        tables = listings.found(folder, kind, settings)
        if tables:
            examples, labels, paths = listings.examples(folder, tables, kind, settings)
            contents, used = partial(folders.contents, paths), [*tables, *paths]
            return _named(
                folder,
                "listing",
                kind,
                labels,
                examples,
                contents,
                used,
            )
    return None


def _webdataset(folder: Path, settings: DataSettings) -> Source | None:
    paths = webdataset.found(folder)
    if not paths or settings.kind not in (None, "image"):
        return None
    examples, labels = webdataset.examples(folder, paths, settings.task_settings)
    contents = partial(webdataset.contents, paths)
    return _named(
        folder,
        "webdataset",
        "image",
        labels,
        examples,
        contents,
        paths,
    )


def _folders(folder: Path, settings: DataSettings) -> Source | None:
    for kind in _wanted(settings, ("image", "audio", "text")):
        paths = folders.found(folder, kind)
        if paths:
            known, place = listed_classes(folder), settings.class_folder
            examples, classes = folders.examples(folder, paths, known, place)
            labels, contents = Labels([], classes), partial(folders.contents, paths)
            return _named(
                folder,
                "folders",
                kind,
                labels,
                examples,
                contents,
                paths,
            )
    return None


def _tables(folder: Path, settings: DataSettings) -> Source | None:
    paths = tables.found(folder)
    if not paths or settings.kind not in (None, "text", "table"):
        return None
    read = tables.read(folder, paths, settings)
    source = _named(
        folder,
        "tables",
        read.kind,
        read.labels,
        read.examples,
        read.contents,
        paths,
    )
    return replace(source, columns=read.columns)


def _arrays(folder: Path, place: str, settings: DataSettings) -> Source:
    read, used = arrays.read(folder, place, settings), visible(folder)
    return _named(
        folder,
        "arrays",
        "tensor",
        read.labels,
        read.examples,
        read.contents,
        used,
    )


def _wanted(settings: DataSettings, kinds: Sequence[str]) -> Sequence[str]:
    """The kinds that the settings allow."""
    return [kind for kind in kinds if settings.kind in (None, kind)]


def _named(
    folder: Path,
    layout: Layout,
    kind: str,
    labels: Labels,
    examples: pd.DataFrame,
    contents: Callable[[], Iterator[Chunk]],
    paths: list[Path],
) -> Source:
    """A source with the name that its description gives."""
    return Source(
        folder,
        layout,
        _name(folder) or UNNAMED,
        labels.classes,
        examples,
        contents,
        files=tuple(dict.fromkeys(paths)),
        kind=kind,
        task=labels.task,
        heads=labels.heads,
    )


def _name(folder: Path) -> str | None:
    path = folder / SOURCE
    if not path.is_file():
        return None
    content = files.read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("name"), str):
        raise BadInput(f'Expected {path} to hold {{"name": ...}}; found {str(content)[:80]}.')
    return str(content["name"])


def _numbered_from_zero(source: Source, first_label: int) -> Source:
    """The source with labels from 0, where the data's own begin at another number."""
    if not first_label:
        return source
    labels = source.examples["label"] - first_label
    return replace(source, examples=source.examples.assign(label=labels))


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
        f"{int((labels == largest).sum())}).{_FROM_ONE if absent == 0 else ''}"
    )
