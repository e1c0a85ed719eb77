"""Residual blocks as groups of weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class BlockGroups:
    """The residual blocks of a network.

    Attributes:
        names: names of the blocks, in order.
        layer: (count,) the stage of each block; the blocks of one stage read values of one shape.
        owner: number of the block that each parameter belongs to, by the parameter's name.
        macs: (count,) multiply-accumulates of each block for one example.
    """

    names: tuple[str, ...]
    layer: NDArray[np.int64]
    owner: Mapping[str, int]
    macs: NDArray[np.int64]

    @property
    def count(self) -> int:
        """The number of blocks."""
        return len(self.names)

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) for each block the sum over all its parameters.

        Args:
            values: a number for each element of some parameters, by name.
        """
        total = np.zeros(self.count)
        for name, value in values.items():
            if name in self.owner:
                total[self.owner[name]] += value.double().sum().item()
        return total

    def sum_over_consumers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """The same sum: the same weights produce a block's output and read its input."""
        return self.sum_over_producers(values)

    def producers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The block of a parameter, in as many dimensions as the parameter has."""
        if name not in self.owner:
            return None
        return np.full([1] * len(shape), self.owner[name])
