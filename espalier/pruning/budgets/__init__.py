"""Budgets say how much is removed where: each maps a problem to the units that are kept."""

from collections.abc import Callable

from espalier.pruning.budgets.global_budget import everywhere
from espalier.pruning.budgets.latency import latency
from espalier.pruning.budgets.problem import Kept, Layer, Portion, Problem, layers_of
from espalier.pruning.budgets.sensitivity import sensitivity
from espalier.pruning.budgets.uniform import uniform

BUDGETS: dict[str, Callable[[Problem], Kept]] = {
    "global": everywhere,
    "uniform": uniform,
    "sensitivity": sensitivity,
    "latency": latency,
}

__all__ = [
    "BUDGETS",
    "Layer",
    "Portion",
    "Problem",
    "everywhere",
    "latency",
    "layers_of",
    "sensitivity",
    "uniform",
]
