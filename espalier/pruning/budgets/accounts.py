"""Accounts of costs while portions are removed: their sizes, what each portion saves, and the limits."""

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from espalier.pruning.budgets.problem import Limit, Problem
from espalier.pruning.costs import Cost, Sizes

Costs = NDArray[np.float64]


class Account:
    """A cost, the sizes that are left, and the sizes that each portion removes."""

    def __init__(self, cost: Cost, portions: csc_array) -> None:
        self._cost = cost
        self._removes = (cost.removed @ portions).tocsc()
        self.left: Sizes = cost.whole.reshape(-1)
        self.now = self.whole = float(cost.of(cost.whole))

    def removed_by(self, portion: int) -> Sizes:
        """(terms * dims,) the sizes that a portion removes."""
        start, end = self._removes.indptr[portion : portion + 2]
        removed = np.zeros(len(self.left), np.int64)
        removed[self._removes.indices[start:end]] = self._removes.data[start:end]
        return removed

    def after(self, removed: Sizes) -> Costs:
        """The cost after each of several steps, which remove (steps, terms * dims)."""
        left = self.left - removed
        return self._cost.of(left.reshape(len(left), *self._cost.whole.shape))

    def set(self, left: Sizes) -> None:
        """Continue from other sizes."""
        self.left = left
        self.now = float(self._cost.of(left.reshape(self._cost.whole.shape)))


@dataclass
class Track:
    """A limit, and the accounts of its costs.

    Attributes:
        most: largest allowed cost.
        cost: account of the limited cost.
        saved: account of the saved cost; the same object if they are the same.
    """

    most: float
    cost: Account
    saved: Account

    @classmethod
    def begin(cls, limit: Limit, portions: csc_array) -> "Track":
        """The accounts of the whole network."""
        cost = Account(limit.cost, portions)
        saved = cost if limit.saved is limit.cost else Account(limit.saved, portions)
        return cls(limit.most, cost, saved)

    def copy(self) -> "Track":
        """Independent accounts with the same state."""
        cost = copy.copy(self.cost)
        return Track(self.most, cost, cost if self.is_same else copy.copy(self.saved))

    @property
    def is_same(self) -> bool:
        """Whether the limited cost is the saved one."""
        return self.saved is self.cost

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.cost.now <= self.most

    @property
    def fraction(self) -> float:
        """The limited cost as a fraction of the limit."""
        return self.cost.now / self.most if self.most > 0 else np.inf

    def move(self, portions: range, sign: int) -> None:
        """Remove portions (sign 1), or bring them back (sign -1)."""
        for account in (self.cost,) if self.is_same else (self.cost, self.saved):
            left = account.left
            for portion in portions:
                left = left - sign * account.removed_by(portion)
            account.set(left)


def membership(problem: Problem) -> csc_array:
    """(count, portions) 1 where a group belongs to a portion."""
    members = [portion.members for layer in problem.layers for portion in layer.portions]
    columns = np.repeat(np.arange(len(members)), [len(each) for each in members])
    rows = np.concatenate([np.empty(0, np.int64), *members])
    ones = np.ones(len(rows), np.int64)
    return csc_array((ones, (rows, columns)), shape=(problem.count, len(members)))
