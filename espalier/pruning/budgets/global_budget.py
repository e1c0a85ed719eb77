"""`global`: portions of all layers compete; a greedy knapsack with exchanges."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from espalier.pruning.budgets.accounts import Costs, Track, membership
from espalier.pruning.budgets.problem import Kept, Problem
from espalier.pruning.costs import Sizes, steps_in_block

_NEAR = 0.98  # of the limit: coming nearer is not worth a group with a higher score
_NOTHING = 0.1  # of a portion's saving: one that saves less shares a block with another portion
_EXCHANGES = 16  # at most, when one of several limits is far because of another


def global_budget(problem: Problem) -> Kept:
    """Remove the portion with the lowest importance per saving, until all limits are kept.

    A limit on the work is approached by saving modelled time. If the last steps saved over 2 % too
    much, portions are exchanged: one comes back, and others go.

    Returns:
        (count,) whether each group is kept. If no choice keeps the limits, the nearest one.

    Example:
        Portions a (importance 1, saves 2), b (importance 2, saves 8); at least 8 must be saved. b
        loses 0.25 per saved unit, a loses 0.5: b goes, and the limit is kept.
    """
    return greedy(problem, lookahead=steps_in_block(problem.align))


def greedy(problem: Problem, *, lookahead: int, pace: float = 0.0, slower: float = np.inf) -> Kept:
    """Remove portions with the lowest importance per saving, until all limits are kept.

    The saving of a step is relative to the whole network, and summed over the limits that do not
    hold yet, each weighted by its distance: of limits at 0.5 and 0.25 of a network that is still
    whole, the first has to fall by once what it allows, the second by three times as much.

    Args:
        problem: the problem.
        lookahead: largest number of portions of a layer in one step: where a cost falls in stairs,
            a single portion saves nothing.
        pace: least relative fall of a saved cost over that of its limited cost. Slower steps are
            taken only if the limits cannot be kept otherwise.
        slower: largest factor by which an exchange may raise a saved cost to come nearer to the
            limits.

    Returns:
        (count,) whether each group is kept. If no choice keeps the limits, the nearest one.
    """
    choice = _Choice.begin(problem, lookahead, pace, slower)
    reached = choice.remove_until_limits()
    if not reached and pace:
        choice = _Choice.begin(problem, lookahead, 0.0, slower)
        reached = choice.remove_until_limits()
    for _ in range(_EXCHANGES):
        if not reached or choice.is_near():
            break
        nearer = max(choice.exchanges(), key=_Choice.nearness, default=choice)
        if nearer.nearness()[0] <= choice.nearness()[0]:
            break
        choice = nearer
    return choice.kept()


@dataclass(frozen=True)
class _Step:
    """The removal of the next portions of a layer.

    Attributes:
        layer: number of the layer.
        count: number of portions.
        importance: what is lost with them.
        removed: for each limit, the sizes that they remove from the limited and the saved cost.
    """

    layer: int
    count: int
    importance: float
    removed: tuple[tuple[Sizes, Sizes], ...]


@dataclass
class _Choice:
    """A choice in progress: the number of removed portions of each layer, and what is left.

    Attributes:
        problem: the problem.
        lookahead: largest number of portions in one step.
        pace: least relative fall of a saved cost over that of its limited cost.
        slower: largest factor by which an exchange may raise a saved cost.
        first: number of each layer's first portion, counted over all layers.
        gone: number of removed portions of each layer.
        tracks: accounts of each limit.
        next_steps: possible next steps of each layer.
    """

    problem: Problem
    lookahead: int
    pace: float
    slower: float
    first: list[int]
    gone: list[int]
    tracks: list[Track]
    next_steps: list[list[_Step]] = field(default_factory=list)

    @classmethod
    def begin(cls, problem: Problem, lookahead: int, pace: float, slower: float) -> "_Choice":
        """The choice that keeps everything."""
        portions = membership(problem)
        tracks = [Track.begin(limit, portions) for limit in problem.limits]
        counts = [len(layer.portions) for layer in problem.layers]
        first = np.cumsum([0, *counts]).tolist()
        choice = cls(problem, lookahead, pace, slower, first, [0] * len(counts), tracks)
        choice.next_steps = [choice.steps_of(layer) for layer in range(len(counts))]
        return choice

    def copy(self) -> "_Choice":
        """An independent choice with the same state."""
        other = copy.copy(self)
        other.gone, other.next_steps = list(self.gone), list(self.next_steps)
        other.tracks = [track.copy() for track in self.tracks]
        return other

    def kept(self) -> Kept:
        """(count,) whether each group is kept."""
        kept = np.ones(self.problem.count, bool)
        for layer, gone in zip(self.problem.layers, self.gone, strict=True):
            for portion in layer.portions[:gone]:
                kept[portion.members] = False
        return kept

    def steps_of(self, layer: int) -> list[_Step]:
        """The possible next steps of a layer."""
        start, end = self.first[layer] + self.gone[layer], self.first[layer + 1]
        steps: list[_Step] = []
        for portion in range(start, min(start + self.lookahead, end)):
            removed = [
                (track.cost.removed_by(portion), track.saved.removed_by(portion))
                for track in self.tracks
            ]
            if steps:
                before = steps[-1].removed
                removed = [(a + c, b + d) for (a, b), (c, d) in zip(removed, before, strict=True)]
            count = len(steps) + 1
            importance = self.importance(layer, self.gone[layer], count)
            steps.append(_Step(layer, count, importance, tuple(removed)))
        return steps

    def move(self, layer: int, count: int) -> None:
        """Remove the next `count` portions of a layer, or bring the last `-count` back."""
        start = self.first[layer] + self.gone[layer]
        portions = range(start, start + count) if count > 0 else range(start + count, start)
        for track in self.tracks:
            track.move(portions, 1 if count > 0 else -1)
        self.gone[layer] += count
        self.next_steps[layer] = self.steps_of(layer)

    def remove_until_limits(self, but: int | None = None) -> bool:
        """Take the best step until all limits are kept; returns whether they are.

        Args:
            but: number of a layer that loses nothing.
        """
        while not all(track.holds for track in self.tracks):
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
            if other.remove_until_limits(but=layer) and not other.is_slower(self):
                yield other

    def restore(self, layer: int) -> None:
        """Bring the last portion of a layer back, and earlier ones that then cost no more time."""
        former = self.spent()
        self.move(layer, -1)
        regained = self.spent() - former
        while not all(track.is_same for track in self.tracks) and self.gone[layer]:
            former = self.spent()
            self.move(layer, -1)
            if self.spent() - former > _NOTHING * regained:
                self.move(layer, 1)
                break

    def spent(self) -> float:
        """The saved costs that are left, each relative to the whole network."""
        return sum(track.saved.now / track.saved.whole for track in self.tracks)

    def is_near(self) -> bool:
        """Whether every limited cost is near its limit."""
        return all(track.fraction >= _NEAR for track in self.tracks)

    def nearness(self) -> tuple[float, float]:
        """The nearness to all limits, and, among choices near them, the negative lost importance."""
        lost = sum(self.importance(layer, 0, gone) for layer, gone in enumerate(self.gone))
        return sum(min(track.fraction, _NEAR) for track in self.tracks), -lost

    def is_slower(self, other: "_Choice") -> bool:
        """Whether this choice saves too little of a cost that is not limited."""
        return any(
            not track.is_same and track.saved.now > self.slower * former.saved.now
            for track, former in zip(self.tracks, other.tracks, strict=True)
        )

    def importance(self, layer: int, start: int, count: int) -> float:
        """The importance of `count` portions of a layer from `start` on."""
        portions = self.problem.layers[layer].portions[start : start + count]
        return sum(portion.importance for portion in portions)

    def _best(self, steps: list[_Step]) -> _Step | None:
        """The step with the lowest importance per saving; None if no step saves anything.

        The last step before the limits is the least important step that comes near them.
        """
        importance = np.array([step.importance for step in steps])
        costs, saving = np.empty((len(self.tracks), len(steps))), np.zeros(len(steps))
        for number, track in enumerate(self.tracks):
            costs[number] = track.cost.after(np.stack([step.removed[number][0] for step in steps]))
            if not track.holds:
                saving += self._saving(number, steps, costs[number])
        if not (saving > 0).any():
            return None
        infinite = np.full(len(steps), np.inf)
        price = np.divide(importance, saving, out=infinite, where=saving > 0)
        best = int(price.argmin())
        most = np.array([track.most for track in self.tracks])
        if (costs[:, best] <= most).all():
            best = _last(costs / most[:, None], importance, saving > 0)
        return steps[best]

    def _saving(self, number: int, steps: list[_Step], costs: Costs) -> Costs:
        """The relative saving of each step on the way to a limit; 0 where it is not worth anything.

        A step must save at the pace, and its last portion its part of the saving: a portion that
        saves nothing may as well stay.
        """
        track = self.tracks[number]
        saved = costs
        if not track.is_same:
            saved = track.saved.after(np.stack([step.removed[number][1] for step in steps]))
        saving = track.saved.now - saved
        pace = 0.0 if track.is_same else self.pace
        at_pace = saving / track.saved.whole >= pace * (track.cost.now - costs) / track.cost.whole
        counts = np.array([step.count for step in steps])
        before_last = np.where(counts > 1, np.roll(saved, 1), track.saved.now)
        last_saves = before_last - saved > _NOTHING * saving / counts
        useful = (costs < track.cost.now) & (saving > 0) & last_saves & at_pace
        distance = track.fraction - 1
        weight = distance if np.isfinite(distance) else 1.0
        weighted: Costs = np.where(useful, weight * saving / track.saved.whole, 0.0)
        return weighted


def _last(fractions: Costs, importance: Costs, useful: NDArray[np.bool_]) -> int:
    """The least important step that comes near the limits.

    If no step comes near them, the step is chosen among all that are about as near as the best.

    Args:
        fractions: costs (limits, steps) after each step, as fractions of the limits.
        importance: importance (steps,) of each step.
        useful: whether each step (steps,) saves anything.
    """
    keeps = useful & (fractions <= 1).all(0)
    nearness = fractions.sum(0)
    lowest = min(_NEAR * len(fractions), nearness[keeps].max() - (1 - _NEAR))
    return int(np.where(keeps & (nearness >= lowest), importance, np.inf).argmin())
