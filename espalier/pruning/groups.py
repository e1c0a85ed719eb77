"""What goes together, as scores see it: channels, heads, blocks or single weights, behind one interface."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Groups(Protocol):
    """Weights that are removed together. A score that is written for groups works for every pattern."""

    @property
    def count(self) -> int:
        """How many groups there are."""

    @property
    def layer(self) -> NDArray[np.int64]:
        """(count,) the layer each belongs to: groups of one layer are rivals."""

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) for each group the sum over what makes it: its rows of weights, its scales and shifts.

        Args:
            values: A number for each single weight of some parameters, by name.
        """

    def sum_over_consumers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) for each group the sum over what reads it: its columns of weights."""

    def makers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The group that each weight of a parameter helps to make, or -1: what `sum_over_producers` sums over.

        Args:
            name: Of the parameter.
            shape: Its sizes.

        Returns:
            As many dimensions as the parameter has, each of its size, or 1 where all along it are alike. None if the
            parameter makes no group.
        """
