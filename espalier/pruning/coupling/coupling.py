"""Coupled indices: a union-find over the indices of all dimensions of all parameters.

Every index of every dimension of every parameter has a number. A value that flows through the
network carries, for each of its dimensions, the numbers that its indices stand for: a *label*.
Operators pass labels on and join numbers. Labels are arrays, so an offset after a concatenation and
the many columns behind a flattened channel need no special case.

A reshape may split a dimension into several, such as channels into heads and the channels of a
head. Something can be removed along one of these axes only. Their numbers form a `SplitDim`, and
the axis stays undecided until later operators have excluded the others.

Example:
    A layer of 4 channels is reshaped to (2, 2) heads x channels. Removing head 0 removes channels 0
    and 1; removing the first channel of each head removes channels 0 and 2. If the next operator
    sums over the channels of a head, that axis is excluded, and heads remain.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Indices = NDArray[np.int64]


class SplitDim:
    """One dimension, laid out as several axes.

    Attributes:
        indices: numbers of the dimension, in the shape of the axes.
        open: axes along which something can still be removed.
        linked: dimensions that lose indices with an axis, by axis.
        chosen: numbers along the chosen axis, one for each of its indices; None until one is
            chosen.
    """

    def __init__(self, indices: Indices) -> None:
        axes = range(indices.ndim)
        self.indices = indices
        self.open = {axis for axis in axes if _separable(indices, axis)}
        self.linked: dict[int, list[Dim]] = {axis: [] for axis in axes}
        self.chosen: Indices | None = None


@dataclass(frozen=True, eq=False)
class AxisOf:
    """A dimension that is one axis of a split dimension.

    Attributes:
        split: the split dimension.
        axis: number of the axis.
        at: other axes along which the value holds one index only, and that index.
    """

    split: SplitDim
    axis: int
    at: tuple[tuple[int, int], ...] = ()


Dim = Indices | AxisOf | None
"""The numbers of a dimension; None where nothing can be removed (batch, positions, the input)."""

Label = tuple[Dim, ...]
"""A dimension's numbers for each dimension of a value."""


class Coupling:
    """Numbers of indices, joined where they go together, and pinned where they must stay."""

    def __init__(self) -> None:
        self._count = 0
        self._joined: list[tuple[Indices, Indices]] = []
        self._pinned: list[tuple[Indices, str]] = []
        self._splits: list[SplitDim] = []
        self._heads: list[Dim] = []

    def new(self, size: int) -> Indices:
        """Fresh numbers for one dimension."""
        indices = np.arange(self._count, self._count + size, dtype=np.int64)
        self._count += size
        return indices

    def join(self, one: Dim, other: Dim, reason: str) -> Dim:
        """Join two dimensions index by index. A dimension that meets a fixed one is fixed.

        Args:
            one: a dimension.
            other: a dimension of the same size, or of size one, which is broadcast.
            reason: reason for which indices are pinned, if they are.

        Returns:
            The joint dimension.

        Example:
            The channels of `a + b` are those of a and of b: index 3 of both goes, or neither.
        """
        if one is None or other is None:
            self.pin(one, reason)
            self.pin(other, reason)
            return None
        if isinstance(one, AxisOf):
            self._link(one, other, reason)
            return one
        if isinstance(other, AxisOf):
            self._link(other, one, reason)
            return other
        if len(one) != len(other):
            return self._broadcast(one, other, reason)
        self._joined.append((one, other))
        return one

    def pin(self, dim: Dim, reason: str) -> None:
        """Keep the indices of a dimension, and remember the reason."""
        if isinstance(dim, AxisOf):
            self._exclude(dim.split, dim.axis, reason)
        elif dim is not None:
            self._pinned.append((dim, reason))

    def merge(self, table: Indices) -> Indices:
        """Join all rows of a table (groups, size), so that groups keep the same positions.

        Returns:
            The first row, which stands for all.
        """
        first: Indices = table[0]
        for row in table[1:]:
            self._joined.append((first, row))
        return first

    def split(self, indices: Indices, reason: str) -> list[Dim]:
        """Split a dimension into the axes of `indices`.

        Args:
            indices: numbers of the dimension, in the shape of the axes.
            reason: reason for which they are pinned, if no axis can lose anything.

        Returns:
            A dimension for each axis.
        """
        split = SplitDim(indices)
        if not split.open:
            self.pin(indices.ravel(), reason)
        self._splits.append(split)
        return [AxisOf(split, axis) for axis in range(indices.ndim)]

    def resolve(self, dim: Dim) -> Indices | None:
        """Prune a split dimension along this axis, unless another axis was chosen before.

        Returns:
            The numbers of the dimension; None if nothing can be removed along it.
        """
        if not isinstance(dim, AxisOf):
            return dim
        if dim.axis not in dim.split.open:
            return None
        self._choose(dim.split, dim.axis)
        return dim.split.chosen

    def mark_heads(self, dim: Dim) -> None:
        """Record that the indices of a dimension are attention heads."""
        self._heads.append(dim)

    def resolve_all(self) -> None:
        """Resolve every split dimension: along its heads, else along the last open axis."""
        for head in self._heads:
            self.resolve(head)
        for split in self._splits:
            if split.chosen is None and split.open:
                self._choose(split, max(split.open))

    def components(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The component of each number, and for each component whether it is pinned."""
        component = self._connected()
        pinned = np.zeros(int(component.max(initial=-1)) + 1, bool)
        for indices, _ in self._pinned:
            pinned[component[indices]] = True
        return component, pinned

    def reasons(self) -> dict[str, int]:
        """The number of pinned indices for each reason."""
        counts: dict[str, int] = {}
        for indices, reason in self._pinned:
            counts[reason] = counts.get(reason, 0) + len(indices)
        return counts

    def _connected(self) -> NDArray[np.int64]:
        if not self._joined:
            return np.arange(self._count)
        left = np.concatenate([one for one, _ in self._joined])
        right = np.concatenate([other for _, other in self._joined])
        shape = (self._count, self._count)
        edges = coo_array((np.ones(len(left), bool), (left, right)), shape=shape)
        return connected_components(edges, directed=False)[1].astype(np.int64)

    def _broadcast(self, one: Indices, other: Indices, reason: str) -> Indices:
        """Pin the single index that meets all others; pin both where neither is single."""
        single, many = (one, other) if len(one) == 1 else (other, one)
        if len(single) != 1:
            self.pin(one, reason)
            self.pin(other, reason)
            return many
        self.pin(single, reason)
        return many

    def _link(self, part: AxisOf, other: Indices | AxisOf, reason: str) -> None:
        """Make another dimension lose the indices that this axis loses, in every resolution of the split."""
        split, axis = part.split, part.axis
        if axis not in split.open:
            self.pin(other, reason)
        elif split.chosen is not None:
            resolved = self.resolve(other) if isinstance(other, AxisOf) else other
            self.join(split.chosen, resolved, reason)
        elif isinstance(other, AxisOf) and _is_decided(other):
            self._link(other, part, reason)
        else:
            split.linked[axis].append(other)
            if isinstance(other, AxisOf):
                other.split.linked[other.axis].append(part)

    def _exclude(self, split: SplitDim, axis: int, reason: str) -> None:
        """Exclude an axis, and pin everything that is linked to it."""
        if axis not in split.open:
            return
        split.open.remove(axis)
        if not split.open:
            self.pin(split.indices.ravel(), reason)
        for other in split.linked[axis]:
            self.pin(other, reason)

    def _choose(self, split: SplitDim, axis: int) -> None:
        """Choose the axis along which a split dimension loses indices; exclude the others."""
        if split.chosen is not None:
            return
        size = split.indices.shape[axis]
        rows = np.moveaxis(split.indices, axis, -1).reshape(-1, size)
        split.chosen = self.merge(rows)
        for other in split.open - {axis}:
            self._exclude(split, other, "inside what goes as a whole")
        for linked in split.linked[axis]:
            self.join(split.chosen, self.resolve(linked), "meets what is fixed")


def _is_decided(dim: AxisOf) -> bool:
    return dim.axis not in dim.split.open or dim.split.chosen is not None


def _separable(indices: Indices, axis: int) -> bool:
    """Whether every number occurs at a single index of an axis: then its indices can be removed singly."""
    rows = np.moveaxis(indices, axis, 0).reshape(indices.shape[axis], -1)
    return sum(len(np.unique(row)) for row in rows) == len(np.unique(indices))
