"""`uniform`: every layer loses the same fraction."""

from collections.abc import Sequence

import numpy as np

from espalier.pruning.budgets.problem import Kept, Portion, Problem


def uniform(problem: Problem) -> Kept:
    """Remove the same fraction of every layer, to within one portion.

    Portions of all layers are ordered by the fraction that their layer has lost with them. The
    smallest number of portions that keeps the limits is found by bisection.

    Returns:
        (count,) whether each group is kept. If no choice keeps the limits, the nearest one.
    """
    portions = _by_lost_fraction(problem)
    enough, few = len(portions), -1
    while enough - few > 1:
        middle = (enough + few) // 2
        if problem.holds(_without(problem, portions[:middle])):
            enough = middle
        else:
            few = middle
    return _without(problem, portions[:enough])


def _by_lost_fraction(problem: Problem) -> list[Portion]:
    """The portions of all layers, ordered by the fraction that their layer has lost with them."""
    order = []
    for layer in problem.layers:
        lost = np.cumsum([len(portion.members) for portion in layer.portions]) / layer.width
        order += list(zip(lost, layer.portions, strict=True))
    order.sort(key=lambda one: one[0])
    return [portion for _, portion in order]


def _without(problem: Problem, portions: Sequence[Portion]) -> Kept:
    kept = np.ones(problem.count, bool)
    for portion in portions:
        kept[portion.members] = False
    return kept
