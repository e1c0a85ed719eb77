"""`sensitivity`: layers on which the loss depends little lose more (Li et al. 2017, section 3.2)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from espalier.errors import BadInput
from espalier.pruning.budgets.global_budget import greedy
from espalier.pruning.budgets.problem import Kept, Layer, Problem

_POINTS = 3  # at which the loss curve of a layer is measured; it is linear between them
_LOOKAHEAD = 8  # portions in one step: a curve may rise first and be flat then


def sensitivity(problem: Problem) -> Kept:
    """Remove the portions that raise the loss the least, summed over layers.

    Each layer alone loses a third, two thirds and all of its removable portions, and the loss is
    measured. The rise between two points is divided among the portions between them. Portions with
    the smallest rise per saved cost go first.

    Returns:
        (count,) whether each group is kept. If no choice keeps the limit, the nearest one.

    Raises:
        BadInput: if there is no loss to measure.
    """
    if problem.loss is None:
        raise BadInput(
            "Expected losses over training data for the budget `sensitivity`; found none."
        )
    before = problem.loss(np.ones(problem.count, bool))
    layers = [_measured(problem.count, problem.loss, layer, before) for layer in problem.layers]
    measured = replace(problem, layers=layers)
    return greedy(measured, lookahead=_LOOKAHEAD)


def _measured(count: int, loss: Callable[[Kept], float], layer: Layer, before: float) -> Layer:
    """A layer whose portions have the rise of the loss as importance."""
    removable = len(layer.portions)
    points = np.unique(np.linspace(0, removable, min(_POINTS, removable) + 1).round().astype(int))
    rises = [0.0]
    for point in points[1:]:
        kept = np.ones(count, bool)
        for portion in layer.portions[:point]:
            kept[portion.members] = False
        rises.append(max(loss(kept) - before, rises[-1]))  # removing more is never better
    curve = np.interp(np.arange(removable + 1), points, rises)
    importance = np.diff(curve).tolist()
    portions = [
        replace(portion, importance=rise)
        for portion, rise in zip(layer.portions, importance, strict=True)
    ]
    return replace(layer, portions=portions)
