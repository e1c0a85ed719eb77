"""Indices of dimensions that can only be removed together: a union-find over single channels.

Every index of every dimension of every parameter is an *atom*. A tensor that flows through the network carries, for
each of its dimensions, the atoms that its indices stand for: a *label*. Operators pass labels on and join atoms. As
labels are arrays, an offset after a concatenation or the many columns behind a flattened channel need no special care.

Where a dimension is seen as several (channels as heads and what is in each), something can go along one of them only:
the atoms form a `Split`, and which of its axes it is stays open until what follows has ruled the others out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Indices = NDArray[np.int64]


class Split:
    """The atoms of one dimension, laid out as several, and the axes along which something can still be removed."""

    def __init__(self, atoms: Indices) -> None:
        self.atoms = atoms
        self.open = {axis for axis in range(atoms.ndim) if _apart(atoms, axis)}
        self.linked: dict[int, list[Dim]] = {axis: [] for axis in range(atoms.ndim)}
        self.row: Indices | None = None
        """Once an axis is chosen, and is the only one open: an atom for each of its indices."""


@dataclass(frozen=True, eq=False)
class Part:
    """A dimension that is one axis of a split; along the axes in `at` a tensor holds one index only."""

    split: Split
    axis: int
    at: tuple[tuple[int, int], ...] = ()


Dim = Indices | Part | None
Label = tuple[Dim, ...]
"""For each dimension what its indices stand for, or None where nothing can be removed (batch, space, the input)."""


class Coupling:
    """Indices, which of them are joined, and which must stay."""

    def __init__(self) -> None:
        self._count = 0
        self._joined: list[tuple[Indices, Indices]] = []
        self._pinned: list[tuple[Indices, str]] = []
        self._splits: list[Split] = []
        self._heads: list[Dim] = []

    def new(self, size: int) -> Indices:
        """Fresh atoms for one dimension."""
        atoms = np.arange(self._count, self._count + size, dtype=np.int64)
        self._count += size
        return atoms

    def join(self, one: Dim, other: Dim, reason: str) -> Dim:
        """Say that two dimensions are the same, index by index. What meets a fixed dimension is fixed as well.

        Returns:
            What stands for the joint dimension.
        """
        if one is None or other is None:
            self.pin(one, reason)
            self.pin(other, reason)
            return None
        if isinstance(one, Part):
            self._link(one, other, reason)
            return one
        if isinstance(other, Part):
            self._link(other, one, reason)
            return other
        if len(one) != len(
            other
        ):  # one of them is broadcast; its single index goes with none of the others
            return self._broadcast(one, other, reason)
        self._joined.append((one, other))
        return one

    def pin(self, dim: Dim, reason: str) -> None:
        """Say that these indices stay, and why."""
        if isinstance(dim, Part):
            self._shut(dim.split, dim.axis, reason)
        elif dim is not None:
            self._pinned.append((dim, reason))

    def tie(self, atoms: Indices) -> Indices:
        """Join all rows of a table (groups, size) of atoms: groups keep the same positions. Returns one row."""
        for row in atoms[1:]:
            self._joined.append((atoms[0], row))
        first: Indices = atoms[0]
        return first

    def split(self, atoms: Indices, reason: str) -> list[Dim]:
        """See a dimension as several: `atoms` laid out in their shape. Returns what stands for each of them."""
        split = Split(atoms)
        if not split.open:
            self.pin(atoms.ravel(), reason)
        self._splits.append(split)
        return [Part(split, axis) for axis in range(atoms.ndim)]

    def settle(self, dim: Dim) -> Indices | None:
        """Decide that a split loses what it loses along this dimension, if it still can. Returns the atoms."""
        if not isinstance(dim, Part):
            return dim
        if dim.axis in dim.split.open:
            self._choose(dim.split, dim.axis)
            return dim.split.row
        return None

    def head(self, dim: Dim) -> None:
        """Say that the indices of this dimension are attention heads."""
        self._heads.append(dim)

    def resolve(self) -> None:
        """Decide all splits: along their heads if they have some, else along the last axis that is open."""
        for head in self._heads:
            self.settle(head)
        for split in self._splits:
            if split.row is None and split.open:
                self._choose(split, max(split.open))

    def components(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The component of each atom, and for each component whether it must stay."""
        if not self._joined:
            component = np.arange(self._count)
        else:
            left = np.concatenate([one for one, _ in self._joined])
            right = np.concatenate([other for _, other in self._joined])
            edges = coo_array(
                (np.ones(len(left), bool), (left, right)), shape=(self._count, self._count)
            )
            component = connected_components(edges, directed=False)[1].astype(np.int64)
        pinned = np.zeros(int(component.max(initial=-1)) + 1, bool)
        for atoms, _ in self._pinned:
            pinned[component[atoms]] = True
        return component, pinned

    def reasons(self) -> dict[str, int]:
        """How many atoms were pinned for which reason."""
        counts: dict[str, int] = {}
        for atoms, reason in self._pinned:
            counts[reason] = counts.get(reason, 0) + len(atoms)
        return counts

    def _broadcast(self, one: Indices, other: Indices, reason: str) -> Indices:
        single, many = (one, other) if len(one) == 1 else (other, one)
        if len(single) != 1:
            self.pin(one, reason)
            self.pin(other, reason)
            return many
        self.pin(single, reason)
        return many

    def _link(self, part: Part, other: Indices | Part, reason: str) -> None:
        """What goes along the one goes along the other, whatever is decided."""
        split, axis = part.split, part.axis
        if axis not in split.open:
            self.pin(other, reason)
        elif split.row is not None:
            self.join(
                split.row, other if not isinstance(other, Part) else self.settle(other), reason
            )
        elif isinstance(other, Part) and (
            other.axis not in other.split.open or other.split.row is not None
        ):
            self._link(other, part, reason)
        else:
            split.linked[axis].append(other)
            if isinstance(other, Part):
                other.split.linked[other.axis].append(part)

    def _shut(self, split: Split, axis: int, reason: str) -> None:
        """Rule an axis out, and with it all that is linked to it."""
        if axis not in split.open:
            return
        split.open.remove(axis)
        if not split.open:
            self.pin(split.atoms.ravel(), reason)
        for other in split.linked[axis]:
            self.pin(other, reason)

    def _choose(self, split: Split, axis: int) -> None:
        if split.row is not None:
            return
        split.row = self.tie(
            np.moveaxis(split.atoms, axis, -1).reshape(-1, split.atoms.shape[axis])
        )
        for other in split.open - {axis}:
            self._shut(split, other, "inside what goes as a whole")
        for linked in split.linked[axis]:
            self.join(split.row, self.settle(linked), "meets what is fixed")


def _apart(atoms: Indices, axis: int) -> bool:
    """Whether no atom stands at two indices of an axis: then they could only go together."""
    rows = np.moveaxis(atoms, axis, 0).reshape(atoms.shape[axis], -1)
    return sum(len(np.unique(row)) for row in rows) == len(np.unique(atoms))
