"""Prepared data: three splits as tensors, each checked against the hash that was recorded when it was written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import safe_open
from safetensors.torch import load_file

from espalier import files
from espalier.data.names import SPLITS
from espalier.errors import BadInput
from espalier.paths import DATASET


@dataclass(frozen=True)
class Dataset:
    """What is known of prepared data without reading an image.

    Attributes:
        name: Of the data set.
        classes: Names by label.
        shape: Of every image: channels, height, width.
        mean: Of the train split's pixels per channel, scaled to [0, 1].
        std: Likewise, the standard deviation; 1 where a channel is constant.
        counts: Examples per split.
        crop: Pixels by which training images may be shifted.
        flip: Whether they may be mirrored.
        seed: That the splits were drawn with.
        source_hash: SHA-256 over names and contents of the files in `data/`.
        files: SHA-256 of each split's file, by the file's name.
        dropped: Examples left out because a stricter split holds the same image.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    counts: dict[str, int]
    crop: int
    flip: bool
    seed: int
    source_hash: str
    files: dict[str, str]
    dropped: int = 0


@dataclass(frozen=True)
class Split:
    """A split in memory: inputs (N, C, H, W) uint8 and targets (N,) int64."""

    inputs: torch.Tensor
    targets: torch.Tensor


class StreamedSplit(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor, int]]):
    """A split on disk, of which an item is read when it is asked for. Workers of a DataLoader may share it.

    An item is an image (C, H, W) uint8, its label (a scalar, int64), and its index.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inputs: Any = None
        with safe_open(path, framework="pt") as file:
            self.targets: torch.Tensor = file.get_tensor("labels")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"An index should lie in 0..{len(self) - 1}. Found {index}.")
        index %= len(self)
        if self._inputs is None:
            file: Any = safe_open(self._path, framework="pt")
            self._inputs = file.get_slice("images")
        return self._inputs[index : index + 1][0], self.targets[index], index

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_inputs": None}  # a mapped file cannot be sent to another process


_DATASET = TypeAdapter(Dataset)


def file_name(split: str) -> str:
    """The name of a split's file.

    Raises:
        BadInput: If there is no such split.
    """
    if split not in SPLITS:
        raise BadInput(f"A split should be one of {', '.join(SPLITS)}. Found {split!r}.")
    return f"{split}.safetensors"


def read_dataset(folder: Path) -> Dataset:
    """Read what is known of prepared data.

    Raises:
        BadInput: If `dataset.json` is missing or not as `espalier prepare` writes it.
    """
    content = files.read_json(folder / DATASET)
    try:
        return _DATASET.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadInput(
            f"{folder / DATASET} should be as `espalier prepare` writes it. Found at `{where}`: {first['msg']}."
        ) from None


def read_split(folder: Path, split: str) -> Split:
    """Read a split whole.

    Raises:
        BadInput: If its file is not the one that was prepared; it names the file.
    """
    tensors = load_file(_checked(folder, split))
    return Split(tensors["images"], tensors["labels"])


def open_split(folder: Path, split: str) -> StreamedSplit:
    """Open a split to read single items of it; for data that do not fit into memory.

    Raises:
        BadInput: If its file is not the one that was prepared; it names the file.
    """
    return StreamedSplit(_checked(folder, split))


def data_hash(folder: Path) -> str:
    """The SHA-256 of `dataset.json`, which holds those of the splits: the version of the prepared data.

    Raises:
        BadInput: If there is none.
    """
    path = folder / DATASET
    if not path.is_file():
        raise BadInput(f"{path} should exist. Found nothing there: run `espalier prepare`.")
    return files.sha256(path)


def _checked(folder: Path, split: str) -> Path:
    path = folder / file_name(split)
    expected = read_dataset(folder).files.get(path.name, "nothing")
    found = files.sha256(path) if path.is_file() else "no file"
    if found != expected:
        raise BadInput(
            f"{path} should have the SHA-256 {expected[:12]} that {DATASET} recorded. Found {found[:12]}: it was "
            "changed or damaged; run `espalier prepare` again."
        )
    return path
