"""The standard files of MNIST and Fashion-MNIST (idx), and of CIFAR-10 and -100 (their Python version)."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from espalier.data.known import CIFAR10, CIFAR100, FASHION, IDX_NAMES, KNOWN, MNIST
from espalier.data.names import TEST, TRAIN
from espalier.data.source import Array, Chunk, frame
from espalier.errors import BadInput
from espalier.settings.limits import largest_decoded

IMAGES_AT_ONCE = 4096
_GZIP_EXPANSION = 50  # bytes for each packed one; MNIST has 5
_IDX_SPLITS = {TRAIN: "train", TEST: "t10k"}


@dataclass(frozen=True)
class Standard:
    """A standard data set, read: its name, its examples, and its images in that order, (n, C, H, W) per split."""

    name: str
    classes: tuple[str, ...] | None
    examples: pd.DataFrame
    arrays: tuple[Array, ...]

    def images(self) -> Iterator[Chunk]:
        """All images, some at a time."""
        for array in self.arrays:
            for start in range(0, len(array), IMAGES_AT_ONCE):
                yield array[start : start + IMAGES_AT_ONCE]


def idx_folder(folder: Path, name: str | None = None) -> Path | None:
    """The folder of the idx files: a folder itself, or torchvision's `MNIST/raw` or `FashionMNIST/raw` in it."""
    candidates = [
        folder,
        *(folder / KNOWN[known].folder for known in (MNIST, FASHION) if name in (None, known)),
    ]
    return next(
        (place for place in candidates if _idx_path(place, "train-images-idx3-ubyte")), None
    )


def read_idx(folder: Path, place: Path) -> Standard:
    """Read the four files of a data set in idx format, packed by gzip or not.

    Args:
        folder: folder to which file names are relative.
        place: The folder of the files, in it.

    Raises:
        BadInput: If a file is missing or damaged, or there are not as many labels as images.
    """
    tables, arrays = [], []
    for split, prefix in _IDX_SPLITS.items():
        path, images = _read_idx(place, f"{prefix}-images-idx3-ubyte", 3)
        labels_path, labels = _read_idx(place, f"{prefix}-labels-idx1-ubyte", 1)
        if len(images) != len(labels):
            raise BadInput(
                f"Expected {labels_path} to hold a label for each of {len(images)} images; found "
                f"{len(labels)}."
            )
        file = path.relative_to(folder).as_posix()
        count = len(images)
        tables.append(frame([file] * count, range(count), labels, split))
        arrays.append(images[:, None])
    name = IDX_NAMES.get(hashlib.sha256(labels.tobytes()).hexdigest()[:16], "")
    classes = KNOWN[name].classes if name else None
    return Standard(name, classes, pd.concat(tables, ignore_index=True), tuple(arrays))


def cifar_name(folder: Path, name: str | None = None) -> str | None:
    """The name of the CIFAR data set below a folder; empty if there is none."""
    known = [known for known in (CIFAR10, CIFAR100) if name in (None, known)]
    return next((name for name in known if (folder / KNOWN[name].folder).is_dir()), None)


def read_cifar(folder: Path, name: str) -> Standard:
    """Read CIFAR through torchvision, which unpickles only files whose MD5 it knows.

    Raises:
        BadInput: If a file is missing or another.
    """
    import torchvision.datasets  # noqa: PLC0415, RUF100  # seconds, and for this layout alone

    reader: Any = getattr(torchvision.datasets, KNOWN[name].title)
    tables, arrays, classes = [], [], None
    for split in (TRAIN, TEST):
        try:
            data = reader(folder, train=split == TRAIN)
        except RuntimeError as error:
            raise BadInput(
                f"Expected {folder / KNOWN[name].folder} to hold the files of {name}; found: "
                f"{error}."
            ) from None
        parts = data.train_list if split == TRAIN else data.test_list
        each = len(data.data) // len(parts)
        paths = [f"{KNOWN[name].folder}/{part[0]}" for part in parts]
        names = [path for path in paths for _ in range(each)]
        rows = np.arange(len(names)) % each
        tables.append(frame(names, rows, data.targets, split))
        arrays.append(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)))
        classes = tuple(data.classes)
    return Standard(name, classes, pd.concat(tables, ignore_index=True), tuple(arrays))


def _idx_path(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _unpacked(path: Path) -> bytes:
    """The content of a gzip file.

    Raises:
        BadInput: if it decodes to more bytes than a file of its size may.
    """
    largest = largest_decoded(path.stat().st_size, _GZIP_EXPANSION)
    with gzip.open(path) as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise BadInput(f"Expected {path} to decode to at most {largest:,} bytes; found more.")
    return content


def _read_idx(folder: Path, name: str, dimensions: int) -> tuple[Path, Array]:
    path = _idx_path(folder, name)
    if path is None:
        raise BadInput(f"Expected {folder} to hold {name} or {name}.gz; found neither.")
    try:
        content = _unpacked(path) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadInput(f"Expected {path} to be a sound gzip file; found: {error}.") from None
    start = 4 + 4 * dimensions
    if len(content) < start or content[:4] != bytes((0, 0, 8, dimensions)):
        raise BadInput(
            f"Expected {path} to begin like an idx file of bytes in {dimensions} dimensions; found "
            "it does not."
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    if len(content) - start != int(np.prod(shape)) or not shape[0]:
        raise BadInput(
            f"Expected {path} to hold {shape} bytes after its header; found {len(content) - start} "
            "bytes."
        )
    return path, np.frombuffer(content, np.uint8, offset=start).reshape(shape)
