"""`global`: portions of all layers compete; a greedy knapsack with exchanges."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array

from espalier.pruning.budgets.problem import Kept, Problem
from espalier.pruning.costs import Cost, Sizes

_NEAR = 0.98  # of the limit: coming nearer is not worth a group with a higher score
_NOTHING = 0.1  # of a portion's saving: one that saves less shares a block with another portion
_PACE = 0.5  # relative fall of time over that of work: below a runtime's block only work falls
_SLOWER = 1.01  # factor by which milliseconds may grow to come nearer to the limit

Costs = NDArray[np.float64]


def global_budget(problem: Problem) -> Kept:
    """Remove the portion with the lowest importance per saved cost, until the limit is kept.

    If that saved over 2 % too much, portions are exchanged: one comes back, and others go.

    Returns:
        (count,) whether each group is kept. If no choice keeps the limit, the nearest one.

    Example:
        Portions a (importance 1, saves 2), b (importance 2, saves 8); at least 8 must be saved. b
        loses 0.25 per saved unit, a loses 0.5: b goes, and the limit is kept.
    """
    return greedy(problem, saved=problem.cost, lookahead=1)


def greedy(problem: Problem, *, saved: Cost, lookahead: int) -> Kept:
    """Remove portions with the lowest importance per saving, until the limit is kept.

    Args:
        problem: the problem.
        saved: cost whose saving divides the importance: the limited cost itself, or milliseconds.
            Steps that save nothing of it are not taken.
        lookahead: largest number of portions of a layer in one step: where a cost falls in stairs,
            a single portion saves nothing.

    Returns:
        (count,) whether each group is kept. If no choice keeps the limit, the nearest one.
    """
    pace = _PACE if saved is not problem.cost else 0.0
    choice = _Choice.begin(problem, saved, lookahead, pace)
    reached = choice.remove_until_limit()
    if not reached and pace:  # again, with steps that save little time
        choice = _Choice.begin(problem, saved, lookahead, 0.0)
        reached = choice.remove_until_limit()
    while reached and choice.cost.now < _NEAR * problem.most:
        nearer = max(choice.exchanges(), key=_Choice.nearness, default=choice)
        if nearer.cost.now <= choice.cost.now:
            break
        choice = nearer
    return choice.kept()


class _Account:
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


@dataclass(frozen=True)
class _Step:
    """The removal of the next portions of a layer.

    Attributes:
        layer: number of the layer.
        count: number of portions.
        importance: what is lost with them.
        from_cost: sizes that they remove from the limited cost.
        from_saved: sizes that they remove from the saved cost.
    """

    layer: int
    count: int
    importance: float
    from_cost: Sizes
    from_saved: Sizes


@dataclass
class _Choice:
    """A choice in progress: the number of removed portions of each layer, and what is left.

    Attributes:
        problem: the problem.
        lookahead: largest number of portions in one step.
        pace: least relative fall of the saved cost over that of the limited cost.
        first: number of each layer's first portion, counted over all layers.
        gone: number of removed portions of each layer.
        cost: account of the limited cost.
        saved: account of the saved cost; the same object if they are the same.
        next_steps: possible next steps of each layer.
    """

    problem: Problem
    lookahead: int
    pace: float
    first: list[int]
    gone: list[int]
    cost: _Account
    saved: _Account
    next_steps: list[list[_Step]]

    @classmethod
    def begin(cls, problem: Problem, saved: Cost, lookahead: int, pace: float) -> "_Choice":
        """The choice that keeps everything."""
        membership = _membership(problem)
        cost = _Account(problem.cost, membership)
        other = cost if saved is problem.cost else _Account(saved, membership)
        counts = [len(layer.portions) for layer in problem.layers]
        first = np.cumsum([0, *counts]).tolist()
        gone = [0] * len(problem.layers)
        steps: list[list[_Step]] = [[] for _ in problem.layers]
        choice = cls(problem, lookahead, pace, first, gone, cost, other, steps)
        for layer in range(len(problem.layers)):
            choice.prepare_steps(layer)
        return choice

    def copy(self) -> "_Choice":
        """An independent choice with the same state."""
        other = copy.copy(self)
        other.gone, other.next_steps = list(self.gone), list(self.next_steps)
        other.cost = copy.copy(self.cost)
        other.saved = other.cost if self.saved is self.cost else copy.copy(self.saved)
        return other

    def kept(self) -> Kept:
        """(count,) whether each group is kept."""
        kept = np.ones(self.problem.count, bool)
        for layer, gone in zip(self.problem.layers, self.gone, strict=True):
            for portion in layer.portions[:gone]:
                kept[portion.members] = False
        return kept

    def prepare_steps(self, layer: int) -> None:
        """Compute the possible next steps of a layer."""
        start, end = self.first[layer] + self.gone[layer], self.first[layer + 1]
        steps: list[_Step] = []
        for portion in range(start, min(start + self.lookahead, end)):
            from_cost, from_saved = (
                account.removed_by(portion) for account in (self.cost, self.saved)
            )
            if steps:
                from_cost = from_cost + steps[-1].from_cost
                from_saved = from_saved + steps[-1].from_saved
            count = len(steps) + 1
            importance = self.importance(layer, self.gone[layer], count)
            steps.append(_Step(layer, count, importance, from_cost, from_saved))
        self.next_steps[layer] = steps

    def move(self, layer: int, count: int) -> None:
        """Remove the next `count` portions of a layer, or bring the last `-count` back."""
        start = self.first[layer] + self.gone[layer]
        portions = range(start, start + count) if count > 0 else range(start + count, start)
        sign = 1 if count > 0 else -1
        accounts = [self.cost] if self.saved is self.cost else [self.cost, self.saved]
        for account in accounts:
            left = account.left
            for portion in portions:
                left = left - sign * account.removed_by(portion)
            account.set(left)
        self.gone[layer] += count
        self.prepare_steps(layer)

    def remove_until_limit(self, but: int | None = None) -> bool:
        """Take the best step until the limit is kept; returns whether it is.

        Args:
            but: number of a layer that loses nothing.
        """
        while self.cost.now > self.problem.most:
            steps = [step for layer in self.next_steps for step in layer if step.layer != but]
            best = self._best(steps) if steps else None
            if best is None:
                return False
            self.move(best.layer, best.count)
        return True

    def exchanges(self) -> Iterator["_Choice"]:
        """Choices in which the last portion of one layer comes back, and others go instead."""
        for layer, gone in enumerate(self.gone):
            if not gone:
                continue
            other = self.copy()
            other.restore(layer)
            if other.remove_until_limit(but=layer) and not other.is_slower(self):
                yield other

    def restore(self, layer: int) -> None:
        """Bring the last portion of a layer back, and earlier ones that then cost no more time."""
        former = self.saved.now
        self.move(layer, -1)
        regained = self.saved.now - former
        while self.saved is not self.cost and self.gone[layer]:
            former = self.saved.now
            self.move(layer, -1)
            if self.saved.now - former > _NOTHING * regained:
                self.move(layer, 1)
                break

    def nearness(self) -> tuple[float, float]:
        """The distance to the limit, and, among choices near it, the negative lost importance."""
        lost = sum(self.importance(layer, 0, gone) for layer, gone in enumerate(self.gone))
        return min(self.cost.now, _NEAR * self.problem.most), -lost

    def is_slower(self, other: "_Choice") -> bool:
        """Whether this choice saves less of the cost that is not limited."""
        return self.saved is not self.cost and self.saved.now > _SLOWER * other.saved.now

    def importance(self, layer: int, start: int, count: int) -> float:
        """The importance of `count` portions of a layer from `start` on."""
        portions = self.problem.layers[layer].portions[start : start + count]
        return sum(portion.importance for portion in portions)

    def _best(self, steps: list[_Step]) -> _Step | None:
        """The step with the lowest importance per saving; None if no step saves anything.

        The last step before the limit is the least important step that comes near it.
        """
        costs = self.cost.after(np.stack([step.from_cost for step in steps]))
        saved = costs
        if self.saved is not self.cost:
            saved = self.saved.after(np.stack([step.from_saved for step in steps]))
        importance = np.array([step.importance for step in steps])
        useful = (costs < self.cost.now) & self._saves(steps, costs, saved)
        if not useful.any():
            return None
        infinite = np.full(len(steps), np.inf)
        price = np.divide(importance, self.saved.now - saved, out=infinite, where=useful)
        best = int(price.argmin())
        if costs[best] <= self.problem.most:
            best = _last(costs, importance, useful, self.problem.most)
        return steps[best]

    def _saves(self, steps: list[_Step], costs: Costs, saved: Costs) -> NDArray[np.bool_]:
        """Whether each step saves at the pace, and its last portion saves its part.

        A portion that saves nothing may as well stay.
        """
        saving = self.saved.now - saved
        at_pace = saving / self.saved.whole >= self.pace * (self.cost.now - costs) / self.cost.whole
        counts = np.array([step.count for step in steps])
        before_last = np.where(counts > 1, np.roll(saved, 1), self.saved.now)
        last_saves = before_last - saved > _NOTHING * saving / counts
        result: NDArray[np.bool_] = (saved < self.saved.now) & last_saves & at_pace
        return result


def _membership(problem: Problem) -> csc_array:
    """(count, portions) 1 where a group belongs to a portion."""
    members = [portion.members for layer in problem.layers for portion in layer.portions]
    columns = np.repeat(np.arange(len(members)), [len(each) for each in members])
    rows = np.concatenate([np.empty(0, np.int64), *members])
    ones = np.ones(len(rows), np.int64)
    return csc_array((ones, (rows, columns)), shape=(problem.count, len(members)))


def _last(costs: Costs, importance: Costs, useful: NDArray[np.bool_], most: float) -> int:
    """The least important step that comes near the limit.

    If no step comes near it, the step is chosen among all that are about as near as the best.
    """
    keeps = useful & (costs <= most)
    lowest = min(_NEAR * most, costs[keeps].max() - (1 - _NEAR) * most)
    return int(np.where(keeps & (costs >= lowest), importance, np.inf).argmin())
