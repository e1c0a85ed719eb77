"""Preparation: data are checked, split and written; nothing is written unless all checks pass."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from espalier import files
from espalier.data import layout, writing
from espalier.data.decoding import decode_all
from espalier.data.known import augmentation
from espalier.data.names import SPLITS, TRAIN
from espalier.data.prepared import Dataset, file_name
from espalier.data.source import Array, Source, content_hash
from espalier.data.splits import assign
from espalier.errors import BadInput, Notice
from espalier.inputs import INPUTS
from espalier.paths import EXAMPLES
from espalier.settings.data import DataSettings


@dataclass(frozen=True)
class Checked:
    """Data that passed every check, decoded and split, but not written.

    Attributes:
        source: data as they were found.
        classes: names by label.
        images: All of them, (N, C, H, W) uint8, mapped from a temporary file.
        examples: `source.examples` with `split` and `sha256`; its index is the row in `images`.
    """

    source: Source
    classes: tuple[str, ...]
    images: Array
    examples: pd.DataFrame

    @property
    def counts(self) -> dict[str, int]:
        """Examples per split."""
        return {name: int((self.examples["split"] == name).sum()) for name in SPLITS}

    @property
    def dropped(self) -> int:
        """Examples left out because a stricter split holds the same image."""
        return len(self.source.examples) - len(self.examples)


def prepare(
    source: Path,
    target: Path,
    settings: DataSettings | None = None,
    *,
    workshop: Path,
    **keys: Any,
) -> Dataset:
    """Check the data in `source`, split them, and put them as tensors in the place of `target`.

    Args:
        source: folder with a data set in a known layout.
        target: folder to create; its former content stays until the new one is complete.
        settings: settings of the data; None takes those of `keys`.
        workshop: folder for work in progress, on the file system of `target`.
        keys: attributes of `DataSettings`.

    Raises:
        BadInput: if a check fails; the message names the file, the row and the count.
    """
    settings = settings or DataSettings(**keys)
    read = layout.read(source, settings=settings)
    with disk_errors(workshop), checked(read, settings, workshop) as data:
        side = min(data.images.shape[2:])
        shift, mirror = augmentation(data.source.name, side, settings.crop, settings.flip)
        _say_moved(target, data.examples)
        with files.replacing(target, workshop) as draft:
            return _write(draft, data, shift, mirror, settings.seed or 0)


def _say_moved(target: Path, examples: pd.DataFrame) -> None:
    """Say how many examples of the former prepared data are now in another split."""
    former_path = target / EXAMPLES
    try:
        former = pd.read_parquet(former_path, columns=["sha256", "split"])
    except (OSError, ValueError):  # there are none, or they are damaged and now replaced
        return
    former = former.drop_duplicates("sha256")
    now = examples[["sha256", "split"]].drop_duplicates("sha256")
    both = former.merge(now, on="sha256", suffixes=("_former", "_now"))
    moved = both[both["split_former"] != both["split_now"]]
    if len(moved):
        revealed = int((moved["split_former"] == TRAIN).sum())
        warnings.warn(
            f"{len(moved):,} of {len(both):,} examples are in another split than before, {revealed:,} "
            "of them out of train: a model of the former data has seen examples that now judge it. "
            "`data.split: threshold` keeps every example where it is as data grow; "
            "`data.split: exact` is how data were split before there was the key.",
            Notice,
            stacklevel=3,
        )


@contextmanager
def disk_errors(workshop: Path) -> Iterator[None]:
    """Turn errors of the disk into a sentence with the path.

    Args:
        workshop: folder of work in progress, which is named if the error has no path, as when a
            disk is full.

    Raises:
        BadInput: for any OSError inside the block.
    """
    try:
        yield
    except OSError as error:
        path = error.filename or workshop
        raise BadInput(
            f"Expected {path} to be readable, or writable with room to spare; found: "
            f"{error.strerror}."
        ) from error


@contextmanager
def checked(source: Source, settings: DataSettings, workshop: Path) -> Iterator[Checked]:
    """Decode, check and split data; the images live in a temporary file in `workshop` until the block ends.

    Raises:
        BadInput: if a check fails; the message names the file, the row and the count.
    """
    workshop.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="decoded.", dir=workshop) as scratch:
        pixels = decode_all(source, Path(scratch) / "images", settings)
        if pixels.count != len(source.examples):
            raise BadInput(
                f"Expected {source.folder} to hold {len(source.examples)} images; found "
                f"{pixels.count}: it was "
                "changed while it was read."
            )
        source = source.only(pixels.kept)
        count = 1 + int(source.examples["label"].max())
        classes = source.classes or tuple(str(label) for label in range(count))
        yield Checked(
            source, classes, pixels.images, assign(source, pixels.hashes, classes, settings)
        )


def _write(folder: Path, data: Checked, crop: int, flip: bool, seed: int) -> Dataset:
    parts = {name: data.examples[data.examples["split"] == name] for name in SPLITS}
    for name, part in parts.items():
        writing.write_split(
            folder / file_name(name), data.images, part.index.to_numpy(), part["label"].to_numpy()
        )
    writing.write_examples(folder, pd.concat(parts.values()))
    train = parts[TRAIN].index.to_numpy()
    dataset = Dataset(
        name=data.source.name,
        classes=data.classes,
        shape=data.images.shape[1:],
        counts=data.counts,
        seed=seed,
        source_hash=content_hash(data.source.folder),
        files={file_name(name): files.sha256(folder / file_name(name)) for name in SPLITS},
        facts=INPUTS["image"].facts(data.images, train, crop=crop, flip=flip),
        dropped=data.dropped,
    )
    writing.write_dataset(folder, dataset)
    return dataset
