"""`sensitivity`: layers on which the loss depends little lose more (measured as Li et al. 2017, section 3.2)."""

from dataclasses import replace

import numpy as np

from espalier.errors import BadInput
from espalier.pruning.budgets.global_budget import greedy
from espalier.pruning.budgets.problem import Kept, Layer, Problem

_POINTS = 3  # at which each layer's curve is measured; between them it is a straight line
_REACH = 8  # portions in one step: a curve may rise first and be flat then


def sensitivity(problem: Problem) -> Kept:
    """Let go what raises the loss the least, summed over layers.

    Each layer by itself loses its lowest-scored portions, a third, two thirds and all that may go, and the loss is
    measured; the rise between two points is shared among the portions between them. What rises least per cost saved
    goes first.

    Returns:
        (count,) whether each unit is kept. If no choice keeps the limit, the nearest one.

    Raises:
        BadInput: If there is no loss to measure.
    """
    if problem.loss is None:
        raise BadInput(
            "The budget `sensitivity` should be given losses over training data. Found none."
        )
    before = problem.loss(np.ones(problem.count, bool))
    layers = [_measured(problem, layer, before) for layer in problem.layers]
    return greedy(replace(problem, layers=layers), saved=problem.cost, reach=_REACH)


def _measured(problem: Problem, layer: Layer, before: float) -> Layer:
    """A layer whose portions are worth what the loss rises by when they go."""
    assert problem.loss is not None
    count = len(layer.portions)
    points = np.unique(np.linspace(0, count, min(_POINTS, count) + 1).round().astype(int))
    rises = [0.0]
    for point in points[1:]:
        kept = np.ones(problem.count, bool)
        kept[np.concatenate([portion.members for portion in layer.portions[:point]])] = False
        rises.append(max(problem.loss(kept) - before, rises[-1]))  # to remove more is never better
    marginal = np.diff(np.interp(np.arange(count + 1), points, rises))
    worth = zip(layer.portions, marginal.tolist(), strict=True)
    return Layer(layer.width, [replace(portion, worth=rise) for portion, rise in worth])
