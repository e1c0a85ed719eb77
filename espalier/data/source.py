"""Sources: the files and labels of a data set, before any example is decoded."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from espalier import files
from espalier.data.contents import readable_name, visible
from espalier.errors import BadInput
from espalier.inputs import INPUTS

CLASSES = "classes.json"
SOURCE = "source.json"
WHOLE = -1  # the row of an example that is a whole file

Array = npt.NDArray[np.uint8]
Chunk = Sequence[Any] | npt.NDArray[Any]
"""Some examples: encoded, or decoded already."""
Layout = Literal["parquet", "folders", "listing", "webdataset", "idx", "cifar", "tables", "arrays"]


@dataclass(frozen=True)
class LabelledHead:
    """A head, as its labels and its settings describe it.

    Attributes:
        name: name of the head.
        task: its task.
        classes: names of its outputs.
        weight: weight of its loss.
        tolerance: tolerance of a regression; None for the default.
    """

    name: str
    task: str
    classes: tuple[str, ...]
    weight: float = 1.0
    tolerance: float | None = None


@dataclass(frozen=True)
class Source:
    """The files and labels of a data set.

    Attributes:
        folder: folder of the data set.
        layout: layout of the files.
        name: name in `source.json`, else the name of the known data set, else "data".
        classes: names of the classes by label, if they are known.
        examples: a row for each example: `file` (relative to `folder`), `row` in it (-1 if the file
            is the example), `label` (a class, a set of classes, a number, or the targets of all
            heads), `split` ("" if none is given).
        contents: yields all examples in the order of `examples`, in chunks: encoded, or decoded.
        files: files to copy, to have the data set elsewhere; empty for a standard set's own format.
        kind: kind of input.
        task: task that the labels are for.
        columns: names of the columns of a table.
        heads: heads of the labels; empty for a single task.
    """

    folder: Path
    layout: Layout
    name: str
    classes: tuple[str, ...] | None
    examples: pd.DataFrame
    contents: Callable[[], Iterator[Chunk]]
    files: tuple[Path, ...] = ()
    kind: str = "image"
    task: str = "classification"
    columns: tuple[str, ...] = ()
    heads: tuple[LabelledHead, ...] = ()

    @property
    def plural(self) -> str:
        """Word for examples in messages."""
        return INPUTS[self.kind].plural

    def only(self, rows: list[int]) -> "Source":
        """The same data set with some of its rows; its contents are those of all rows."""
        return replace(self, examples=self.examples.iloc[rows].reset_index(drop=True))

    def place(self, index: int) -> str:
        """The file of an example, and its row if the file holds several, in words."""
        example = self.examples.iloc[index]
        row = int(example["row"])
        path = str(self.folder / str(example["file"]))
        return path if row == WHOLE else f"{path}, row {row}"


def frame(
    file: list[str], row: npt.ArrayLike, label: Sequence[Any] | Array, split: str | list[str]
) -> pd.DataFrame:
    """The rows of `Source.examples`; a single split is that of all of them."""
    splits = [split] * len(file) if isinstance(split, str) else split
    columns = {
        "file": pd.Series(file, dtype=object),
        "row": np.asarray(row, np.int64),
        "label": _column(label),
        "split": pd.Series(splits, dtype=object),
    }
    return pd.DataFrame(columns)


def _column(labels: Any) -> pd.Series:
    """Labels as a column: sets as they are, numbers as numbers."""
    if len(labels) and isinstance(labels[0], tuple):
        return pd.Series(list(labels), dtype=object)
    numbers = np.asarray(labels)
    return pd.Series(numbers.astype(float if numbers.dtype.kind == "f" else np.int64))


def first(mask: pd.Series) -> int:
    """The index of the first row where a mask is true."""
    return int(mask.index.to_numpy()[mask.to_numpy().argmax()])


def content_hash(folder: Path) -> str:
    """The SHA-256 over the names and contents of all files of a data set."""
    return files.digest(
        {readable_name(path.relative_to(folder)): files.sha256(path) for path in visible(folder)}
    )


def listed_classes(folder: Path) -> tuple[str, ...] | None:
    """The names of the classes in `classes.json`; None if there is no such file.

    Raises:
        BadInput: if it does not hold different names.
    """
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
