"""Sources: the files and labels of a data set, before any image is decoded."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from espalier import files
from espalier.data.names import TEST, TRAIN, VALIDATION

SPELLINGS = {
    "train": TRAIN,
    "training": TRAIN,
    "validation": VALIDATION,
    "valid": VALIDATION,
    "val": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
}
CLASSES = "classes.json"
SOURCE = "source.json"
WHOLE = -1  # the row of an example that is a whole file

Array = npt.NDArray[np.uint8]
Chunk = list[bytes] | Array


@dataclass(frozen=True)
class Source:
    """The files and labels of a data set.

    Attributes:
        folder: folder of the data set.
        kind: layout.
        name: name in `source.json`, else the name of the known data set, else "data".
        classes: names of the classes by label, if they are known.
        examples: a row for each example: `file` (relative to `folder`), `row` in it (-1 if the file
            is the example), `label` (int64), `split` ("" if none is given).
        images: yields all images in the order of `examples`, in chunks: encoded, or as (n, C, H,
            W).
    """

    folder: Path
    kind: Literal["parquet", "images", "idx", "cifar"]
    name: str
    classes: tuple[str, ...] | None
    examples: pd.DataFrame
    images: Callable[[], Iterator[Chunk]]

    def place(self, index: int) -> str:
        """The file of an example, and its row if the file holds several, in words."""
        file, row = self.examples["file"].iloc[index], int(self.examples["row"].iloc[index])
        path = str(self.folder / str(file))
        return path if row == WHOLE else f"{path}, row {row}"


def frame(
    file: list[str], row: npt.ArrayLike, label: npt.ArrayLike, split: str | list[str]
) -> pd.DataFrame:
    """The rows of `Source.examples`; a single split is that of all of them."""
    splits = [split] * len(file) if isinstance(split, str) else split
    columns = {
        "file": pd.Series(file, dtype=object),
        "row": np.asarray(row, np.int64),
        "label": np.asarray(label, np.int64),
        "split": pd.Series(splits, dtype=object),
    }
    return pd.DataFrame(columns)


def first(mask: pd.Series) -> int:
    """The index of the first row where a mask is true."""
    return int(mask.index.to_numpy()[mask.to_numpy().argmax()])


def visible(folder: Path) -> list[Path]:
    """All files below a folder in a fixed order, without hidden ones."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def content_hash(folder: Path) -> str:
    """The SHA-256 over the names and contents of all files of a data set."""
    return files.digest(
        {path.relative_to(folder).as_posix(): files.sha256(path) for path in visible(folder)}
    )
