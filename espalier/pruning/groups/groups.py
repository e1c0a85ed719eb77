"""The interface of groups, as scores see them."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


class Groups(Protocol):
    """Weights that are removed together. A score that is written for groups fits every pattern.

    Producers of a group are the weights that compute it: rows of weights, scales, shifts.
    Consumers are the weights that read it: columns of weights.

    Example:
        Two linear layers, 3 -> 2 -> 1. Group 0 is the first hidden neuron. Its producers are row 0
        of the first weight and element 0 of its bias; its consumer is column 0 of the second
        weight. `sum_over_producers({"first.weight": ones(2, 3)})` is (3, 3).
    """

    @property
    def count(self) -> int:
        """The number of groups."""

    @property
    def layer(self) -> NDArray[np.int64]:
        """(count,) the layer of each group; the groups of one layer compete."""

    def sum_over_producers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) for each group the sum over its producers.

        Args:
            values: a number for each element of some parameters, by name.
        """

    def sum_over_consumers(self, values: Mapping[str, Tensor]) -> NDArray[np.float64]:
        """(count,) for each group the sum over its consumers."""

    def producers(self, name: str, shape: Sequence[int]) -> NDArray[np.int64] | None:
        """The group that each element of a parameter produces; -1 for none.

        Args:
            name: name of the parameter.
            shape: its sizes.

        Returns:
            An array with the parameter's number of dimensions; a dimension has size 1 if the group
            is the same along it. None if the parameter produces no group.
        """


def stay_with(group: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(size,) whether each index of a dimension stays, if only the groups in `kept` (count,) do.

    Args:
        group: (size,) group of each index; -1 for an index without group, which stays.
        kept: (count,) whether each group stays; there may be none.
    """
    stays = group < 0
    stays[~stays] = kept[group[~stays]]
    return stays
