"""Splits that are stored encoded: the files' own bytes one after another, decoded at each use."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from espalier.errors import BadInput
from espalier.inputs import Decoder
from espalier.reading import reading

SPLIT = "a split as `espalier prepare` writes it"


class EncodedSplit:
    """A split on disk; an example is read and decoded when it is asked for.

    Threads may share it.

    Attributes:
        targets: targets (N, ...) of all examples.
    """

    def __init__(self, path: Path, decode: Decoder) -> None:
        self._path, self._decode = path, decode
        with reading(path, SPLIT):
            file: Any = safe_open(path, framework="np")
            self.targets = torch.from_numpy(file.get_tensor("labels"))
            self._offsets: NDArray[np.int64] = file.get_tensor("offsets")
            self._content = file.get_slice("encoded")

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.targets)

    def read(self, index: int, view: int | None = None) -> NDArray[Any]:
        """One example (...) in the stored type.

        Args:
            index: index of the example.
            view: number of the view; None for the example without augmentation.

        Raises:
            BadInput: if it cannot be decoded.
        """
        start, end = self._offsets[index : index + 2].tolist()
        content = self._content[start:end].tobytes()
        try:
            return self._decode(content, index, view)
        except ValueError as error:
            raise BadInput(
                f"Expected example {index} of {self._path} to be readable, as it was when it was "
                f"prepared; found: {error}. Run `espalier prepare` again."
            ) from error
