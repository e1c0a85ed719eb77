"""Indices of dimensions that can only be removed together: a union-find over single channels.

Every index of every dimension of every parameter is an *atom*. A tensor that flows through the network carries, for
each of its dimensions, the atoms that its indices stand for: a *label*. Operators pass labels on and join atoms. As
labels are arrays, an offset after a concatenation or the many columns behind a flattened channel need no special care.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Atoms = NDArray[np.int64]
Label = tuple[Atoms | None, ...]
"""For each dimension its atoms, or None where nothing can be removed (batch, space, the network's input)."""


class Coupling:
    """Atoms, which of them are joined, and which must stay."""

    def __init__(self) -> None:
        self._count = 0
        self._joined: list[tuple[Atoms, Atoms]] = []
        self._pinned: list[tuple[Atoms, str]] = []

    def new(self, size: int) -> Atoms:
        """Fresh atoms for one dimension."""
        atoms = np.arange(self._count, self._count + size, dtype=np.int64)
        self._count += size
        return atoms

    def join(self, one: Atoms | None, other: Atoms | None, reason: str) -> Atoms | None:
        """Say that two dimensions are the same, index by index. What meets a fixed dimension is fixed as well.

        Returns:
            The atoms that stand for the joint dimension.
        """
        if one is None or other is None:
            self.pin(one, reason)
            self.pin(other, reason)
            return None
        if len(one) != len(other):  # one of them is broadcast; its single index goes with none of the others
            return self._broadcast(one, other, reason)
        self._joined.append((one, other))
        return one

    def pin(self, atoms: Atoms | None, reason: str) -> None:
        """Say that these indices stay, and why."""
        if atoms is not None:
            self._pinned.append((atoms, reason))

    def tie(self, atoms: Atoms) -> Atoms:
        """Join all rows of a table (groups, size) of atoms: groups keep the same positions. Returns one row."""
        for row in atoms[1:]:
            self._joined.append((atoms[0], row))
        first: Atoms = atoms[0]
        return first

    def components(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The component of each atom, and for each component whether it must stay."""
        if not self._joined:
            component = np.arange(self._count)
        else:
            left = np.concatenate([one for one, _ in self._joined])
            right = np.concatenate([other for _, other in self._joined])
            edges = coo_array((np.ones(len(left), bool), (left, right)), shape=(self._count, self._count))
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

    def _broadcast(self, one: Atoms, other: Atoms, reason: str) -> Atoms:
        single, many = (one, other) if len(one) == 1 else (other, one)
        if len(single) != 1:
            self.pin(one, reason)
            self.pin(other, reason)
            return many
        self.pin(single, reason)
        return many
