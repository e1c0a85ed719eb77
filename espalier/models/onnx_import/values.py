"""The values of a graph while it is read: known arrays, and values that depend on the input.

A file may compute with its batch size, so every value is followed at two batch sizes. Sizes that differ
between the two follow the batch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

BATCHES = (13, 17)  # primes that are no width or resolution of a network
Array = NDArray[Any]


class Unsupported(ValueError):
    """Part of a file that cannot be rebuilt; the message is a noun phrase that names it."""


@dataclass(frozen=True)
class Known:
    """A value that does not depend on the numbers in the input, but perhaps on the batch size.

    Attributes:
        arrays: the value at both batch sizes.
        name: name of the initialiser; empty for a computed value.
    """

    arrays: tuple[Array, Array]
    name: str = ""

    @classmethod
    def of(cls, array: Array, name: str = "") -> "Known":
        """A value that is the same at every batch size."""
        return cls((array, array), name)

    @property
    def is_constant(self) -> bool:
        """Whether the value is the same at both batch sizes."""
        one, other = self.arrays
        return one is other or (
            one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
        )

    def constant(self) -> Array:
        """The array.

        Raises:
            Unsupported: if it depends on the batch size.
        """
        if not self.is_constant:
            raise Unsupported("a constant that depends on the batch size")
        return self.arrays[0]


@dataclass(frozen=True)
class Activation:
    """A value that depends on the input.

    Attributes:
        name: name of the value among the steps.
        metas: tensors on torch's meta device, which have shapes alone, at both batch sizes.
    """

    name: str
    metas: tuple[Tensor, Tensor]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape at the first batch size."""
        return tuple(self.metas[0].shape)

    @property
    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The shapes at both batch sizes."""
        return tuple(self.metas[0].shape), tuple(self.metas[1].shape)

    @property
    def batch_first(self) -> bool:
        """Whether the first dimension is the batch."""
        return tuple(shape[:1] for shape in self.shapes) == tuple((size,) for size in BATCHES)


Value = Known | Activation | None
