"""Data sets in tar files as WebDataset writes them: files with one stem are an example."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

import pandas as pd

from espalier.bounded import bounded
from espalier.data.contents import readable_name, visible
from espalier.data.folders import ENDINGS, FILES_AT_ONCE
from espalier.data.labels import Labels, read_labels
from espalier.data.source import Chunk, frame, listed_classes
from espalier.data.split_names import ExampleFile, splits_of, splits_of_examples
from espalier.errors import BadInput
from espalier.reading import reading
from espalier.settings.limits import EXAMPLE_BYTES, LABEL_BYTES, decoding_memory
from espalier.settings.tasks import TaskSettings

_PLAIN: Literal["r:"] = "r:"  # of tar files that are not packed
_REMEDY = "rename them, or pack each split into files of its own, such as train-000000.tar"
_LABELS = ("cls", "label", "txt")  # endings of the file with the label; the first that there is


@dataclass
class _Shard:
    """The examples of a tar file: the members with the images, and the labels."""

    images: list[str] = field(default_factory=list)
    labels: list[str | int] = field(default_factory=list)


def found(folder: Path) -> list[Path]:
    """The tar files of a folder, in a fixed order."""
    return [path for path in visible(folder) if path.suffix == ".tar"]


def examples(
    folder: Path, paths: list[Path], settings: TaskSettings | None = None
) -> tuple[pd.DataFrame, Labels]:
    """The examples of tar files, and their labels.

    Raises:
        BadInput: if a file is damaged, or an image has no label.
    """
    shards = [_read(path) for path in paths]
    inside = [path.relative_to(folder) for path in paths]
    columns = [(pd.Series(shard.labels, dtype=object), None) for shard in shards]
    labels = read_labels(str(folder), columns, settings, listed=listed_classes(folder))
    files, rows, splits, members = [], [], [], []
    for path, shard, split in zip(inside, shards, splits_of(folder, inside), strict=True):
        files += [readable_name(path)] * len(shard.images)
        rows += list(range(len(shard.images)))
        splits += [split] * len(shard.images)
        members += [PurePosixPath(image) for image in shard.images]
    named = list(map(ExampleFile.labelled, members, labels.names))
    splits = splits_of_examples(folder, named, splits, _REMEDY)
    return frame(files, rows, labels.values, splits), labels


def contents(paths: list[Path]) -> Iterator[Chunk]:
    """The content of all images, in chunks."""
    for path in paths:
        names = _read(path).images
        with tarfile.open(path, _PLAIN) as tar:
            for start in range(0, len(names), FILES_AT_ONCE):
                yield [_content(tar, name) for name in names[start : start + FILES_AT_ONCE]]


def _read(path: Path) -> _Shard:
    """The images and labels of a tar file, in its order.

    Raises:
        BadInput: if it is damaged or holds no examples, or an image has no label.
    """
    groups: dict[str, dict[str, str]] = {}
    shard = _Shard()
    size = path.stat().st_size
    with (
        bounded(path, decoding_memory(size)),
        reading(path, "a sound tar file"),
        tarfile.open(path, _PLAIN) as tar,
    ):
        for member in tar:
            if member.isfile() and not PurePosixPath(member.name).name.startswith("."):
                _refuse_sparse(path, member, size)
                stem, ending = _parts(member.name)
                groups.setdefault(stem, {})[ending] = member.name
        for stem, members in groups.items():
            image = _image(members)
            if image is None:
                continue
            label = _label(path, tar, stem, members)
            shard.images.append(image)
            shard.labels.append(label)
    if not shard.images:
        raise BadInput(f"Expected {path} to hold images as WebDataset writes them; found none.")
    return shard


def _refuse_sparse(path: Path, member: tarfile.TarInfo, size: int) -> None:
    """Refuse a member that is too large, or has holes, which are read as any number of zeros."""
    largest = min(size, EXAMPLE_BYTES)
    if member.issparse() or member.size > largest:
        raise BadInput(
            f"Expected the members of {path} to be stored whole, with at most {largest:,} bytes; found "
            f"{member.name[:100]!r} of {member.size:,}."
        )


def _parts(name: str) -> tuple[str, str]:
    """The stem of an example, and the ending that says what of it a file holds."""
    path = PurePosixPath(name)
    stem, _, ending = path.name.partition(".")
    return str(path.with_name(stem)), ending.lower()


def _image(members: dict[str, str]) -> str | None:
    """The member that is the image; None if there is none."""
    for ending, name in members.items():
        if f".{ending}" in ENDINGS:
            return name
    return None


def _label(path: Path, tar: tarfile.TarFile, stem: str, members: dict[str, str]) -> str | int:
    name = next((members[ending] for ending in _LABELS if ending in members), None)
    if name is None:
        raise BadInput(
            f"Expected the image {stem} in {path} to have a label in {stem}.cls; found "
            f"{', '.join(members)}."
        )
    length = tar.getmember(name).size
    if length > LABEL_BYTES:
        raise BadInput(
            f"Expected labels in {path} of at most {LABEL_BYTES:,} bytes; found {length:,} in "
            f"{name[:100]!r}."
        )
    text = _content(tar, name).decode("utf-8", "replace").strip()
    return int(text) if text.lstrip("-").isdecimal() else text


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    return b"" if file is None else file.read()
