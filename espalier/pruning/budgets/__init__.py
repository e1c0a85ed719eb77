"""Budgets: the distribution of a cut over the layers. Each maps a problem to the kept groups."""

from collections.abc import Callable

from espalier.pruning.budgets.global_budget import global_budget
from espalier.pruning.budgets.latency import latency
from espalier.pruning.budgets.problem import Kept, Layer, Limit, Portion, Problem, layers_of
from espalier.pruning.budgets.sensitivity import sensitivity
from espalier.pruning.budgets.uniform import uniform

BUDGETS: dict[str, Callable[[Problem], Kept]] = {
    "global": global_budget,
    "uniform": uniform,
    "sensitivity": sensitivity,
    "latency": latency,
}

__all__ = [
    "BUDGETS",
    "Kept",
    "Layer",
    "Limit",
    "Portion",
    "Problem",
    "global_budget",
    "latency",
    "layers_of",
    "sensitivity",
    "uniform",
]
