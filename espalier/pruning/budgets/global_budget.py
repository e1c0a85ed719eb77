"""`global`: the portions that cost the most for the least worth go first, over all layers (a greedy knapsack)."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from espalier.pruning.budgets.problem import Kept, Problem
from espalier.pruning.costs import Cost, Sizes

_NEAR = 0.98  # of the limit: what comes nearer is not worth a better-scored channel
_FREE = 0.1  # of what a portion saves: another that saves less than this shares a block of channels with it
_PACE = 0.5  # how fast time should fall, with the work: a cut below a runtime's block of channels saves work alone
_SLOWER = 1.01  # times the milliseconds may become so, that the limit is met more nearly


def everywhere(problem: Problem) -> Kept:
    """Let the portion with the lowest worth per cost saved go, one after another, until the limit is kept.

    If that saved over 2 % too much, a portion comes back, for others.

    Returns:
        (count,) whether each unit is kept. If no choice keeps the limit, the nearest one.
    """
    return greedy(problem, saved=problem.cost, reach=1)


def greedy(problem: Problem, *, saved: Cost, reach: int) -> Kept:
    """Likewise, with the worth per something else that is saved.

    Args:
        problem: What is asked.
        saved: What a step must save; its worth is divided by it. Steps that save nothing of it are not taken.
        reach: How many portions of a layer may go in one step: where a cost falls in stairs, one saves nothing.
    """
    cut = _Cut.begin(problem, saved, reach, _PACE if saved is not problem.cost else 0.0)
    arrived = cut.remove_until()
    if not arrived and cut.pace:  # then with steps that save little time, too
        cut = _Cut.begin(problem, saved, reach, 0.0)
        arrived = cut.remove_until()
    while arrived and cut.cost.now < _NEAR * problem.most:
        nearer = max(cut.exchanges(), key=_Cut.nearness, default=cut)
        if nearer.cost.now <= cut.cost.now:
            break
        cut = nearer
    return cut.kept()


def _last(
    costs: NDArray[np.float64], worth: NDArray[np.float64], useful: NDArray[np.bool_], most: float
) -> int:
    """Of the steps that arrive near the limit, the one of least worth; of those about as near, where none is near."""
    arrives = useful & (costs <= most)
    nearest = min(_NEAR * most, costs[arrives].max() - (1 - _NEAR) * most)
    return int(np.where(arrives & (costs >= nearest), worth, np.inf).argmin())


class _Ledger:
    """A cost, what is left of its sizes, and what each portion would take."""

    def __init__(self, cost: Cost, portions: csc_array) -> None:
        self._cost = cost
        self._takes = (cost.gone @ portions).tocsc()
        self.left: Sizes = cost.whole.reshape(-1)
        self.now = self.whole = float(cost.of(cost.whole))

    def take(self, portion: int) -> NDArray[np.int64]:
        """(terms * dims,) what goes with a portion."""
        start, end = self._takes.indptr[portion : portion + 2]
        taken = np.zeros(len(self.left), np.int64)
        taken[self._takes.indices[start:end]] = self._takes.data[start:end]
        return taken

    def after(self, taken: NDArray[np.int64]) -> NDArray[np.float64]:
        """The cost after each of several steps that take (steps, terms * dims)."""
        left = self.left - taken
        return self._cost.of(left.reshape(len(left), *self._cost.whole.shape))

    def set(self, left: Sizes) -> None:
        """Go on from other sizes."""
        self.left = left
        self.now = float(self._cost.of(left.reshape(self._cost.whole.shape)))


@dataclass
class _Cut:
    """A choice in the making: how many portions of each layer are gone, and what that leaves."""

    problem: Problem
    reach: int
    pace: float  # how much of what is saved should go at least with each part of the cost
    first: list[int]  # the number of each layer's first portion, over all layers
    gone: list[int]
    cost: _Ledger
    saved: _Ledger
    ahead: list[
        list[tuple[NDArray[np.int64], NDArray[np.int64]]]
    ]  # what the next steps of each layer take, of both

    @classmethod
    def begin(cls, problem: Problem, saved: Cost, reach: int, pace: float) -> "_Cut":
        """Nothing is gone yet."""
        members = [portion.members for layer in problem.layers for portion in layer.portions]
        columns = np.repeat(np.arange(len(members)), [len(each) for each in members])
        rows = np.concatenate([np.empty(0, np.int64), *members])
        membership = csc_array(
            (np.ones(len(rows), np.int64), (rows, columns)), shape=(problem.count, len(members))
        )
        cost = _Ledger(problem.cost, membership)
        same = cost if saved is problem.cost else _Ledger(saved, membership)
        first = np.cumsum([0, *(len(layer.portions) for layer in problem.layers)]).tolist()
        cut = cls(
            problem,
            reach,
            pace,
            first,
            [0] * len(problem.layers),
            cost,
            same,
            [[] for _ in problem.layers],
        )
        for layer in range(len(problem.layers)):
            cut.look_ahead(layer)
        return cut

    def copy(self) -> "_Cut":
        """Another choice with the same past."""
        other = copy.copy(self)
        other.gone, other.ahead, other.cost = (
            list(self.gone),
            list(self.ahead),
            copy.copy(self.cost),
        )
        other.saved = other.cost if self.saved is self.cost else copy.copy(self.saved)
        return other

    def kept(self) -> Kept:
        """(count,) what is left."""
        kept = np.ones(self.problem.count, bool)
        for layer, gone in zip(self.problem.layers, self.gone, strict=True):
            for portion in layer.portions[:gone]:
                kept[portion.members] = False
        return kept

    def look_ahead(self, layer: int) -> None:
        """See what the next steps of a layer would take."""
        start, end = self.first[layer] + self.gone[layer], self.first[layer + 1]
        steps: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        for portion in range(start, min(start + self.reach, end)):
            taken = self.cost.take(portion), self.saved.take(portion)
            steps.append((taken[0] + steps[-1][0], taken[1] + steps[-1][1]) if steps else taken)
        self.ahead[layer] = steps

    def move(self, layer: int, count: int) -> None:
        """Let the next portions of a layer go, or with a negative count come back."""
        start = self.first[layer] + self.gone[layer]
        for ledger in {id(ledger): ledger for ledger in (self.cost, self.saved)}.values():
            left = ledger.left
            for portion in (
                range(start, start + count) if count > 0 else range(start + count, start)
            ):
                left = left - ledger.take(portion) if count > 0 else left + ledger.take(portion)
            ledger.set(left)
        self.gone[layer] += count
        self.look_ahead(layer)

    def remove_until(self, but: int | None = None) -> bool:
        """Let portions go, of all layers but one, until the limit is kept; whether it is."""
        most = self.problem.most
        while self.cost.now > most:
            steps = [
                (layer, count)
                for layer, ahead in enumerate(self.ahead)
                if layer != but
                for count in range(1, len(ahead) + 1)
            ]
            if not steps:
                return False
            costs, saved = self._after(steps)
            worth = np.array(
                [self._worth(layer, self.gone[layer], count) for layer, count in steps]
            )
            useful = (costs < self.cost.now) & self._saves(steps, costs, saved)
            if not useful.any():
                return False
            price = np.divide(
                worth, self.saved.now - saved, out=np.full(len(steps), np.inf), where=useful
            )
            best = int(price.argmin())
            if costs[best] <= most:
                best = _last(costs, worth, useful, most)
            self.move(*steps[best])
        return True

    def exchanges(self) -> Iterator["_Cut"]:
        """Choices in which the last portion of one layer comes back, and others go for it if need be."""
        for layer, gone in enumerate(self.gone):
            if gone:
                other = self.copy()
                other.restore(layer)
                if other.remove_until(but=layer) and not other.is_slower(self):
                    yield other

    def restore(self, layer: int) -> None:
        """Bring the last portion of a layer back, and those before it that cost no more time then."""
        former = self.saved.now
        self.move(layer, -1)
        cost = self.saved.now - former
        while self.saved is not self.cost and self.gone[layer]:
            former = self.saved.now
            self.move(layer, -1)
            if self.saved.now - former > _FREE * cost:
                self.move(layer, 1)
                break

    def nearness(self) -> tuple[float, float]:
        """How near to the limit it is, and, where it is near, how little was lost."""
        lost = sum(self._worth(layer, 0, gone) for layer, gone in enumerate(self.gone))
        return min(self.cost.now, _NEAR * self.problem.most), -lost

    def is_slower(self, other: "_Cut") -> bool:
        """Whether it saves less of what is not limited."""
        return self.saved is not self.cost and self.saved.now > _SLOWER * other.saved.now

    def _after(
        self, steps: list[tuple[int, int]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        taken = [self.ahead[layer][count - 1] for layer, count in steps]
        costs = self.cost.after(np.stack([one for one, _ in taken]))
        return costs, costs if self.saved is self.cost else self.saved.after(
            np.stack([other for _, other in taken])
        )

    def _saves(
        self, steps: list[tuple[int, int]], costs: NDArray[np.float64], saved: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Whether steps save something at the pace, and the last portion of each its part: else it may as well stay."""
        enough = (self.saved.now - saved) / self.saved.whole >= self.pace * (
            self.cost.now - costs
        ) / self.cost.whole
        counts = np.array([count for _, count in steps])
        former = np.where(counts > 1, np.roll(saved, 1), self.saved.now)
        whole: NDArray[np.bool_] = (saved < self.saved.now) & (
            former - saved > _FREE * (self.saved.now - saved) / counts
        )
        return whole & enough

    def _worth(self, layer: int, start: int, count: int) -> float:
        return sum(
            portion.worth for portion in self.problem.layers[layer].portions[start : start + count]
        )
