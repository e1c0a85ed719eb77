"""`uniform`: every layer loses the same fraction."""

import numpy as np

from espalier.pruning.budgets.problem import Kept, Problem


def uniform(problem: Problem) -> Kept:
    """Let the same fraction of every layer go, to one portion: the least that keeps the limit, found by bisection.

    Portions of all layers go in the order of the fraction that their layer has then lost.

    Returns:
        (count,) whether each unit is kept. If no choice keeps the limit, the nearest one.
    """
    order = []
    for layer in problem.layers:
        lost = np.cumsum([len(portion.members) for portion in layer.portions]) / layer.width
        order += list(zip(lost, layer.portions, strict=True))
    order.sort(key=lambda one: one[0])

    def kept(count: int) -> Kept:
        left = np.ones(problem.count, bool)
        for _, portion in order[:count]:
            left[portion.members] = False
        return left

    enough, few = len(order), -1
    while enough - few > 1:
        middle = (enough + few) // 2
        enough, few = (
            (middle, few) if problem.cost(kept(middle)) <= problem.most else (enough, middle)
        )
    return kept(enough)
