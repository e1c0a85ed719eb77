"""Coupling: indices of dimensions that can only be removed together."""

from espalier.pruning.coupling.coupling import AxisOf, Coupling, Dim, Indices, Label, SplitDim
from espalier.pruning.coupling.walk import (
    Rule,
    Walk,
    argument,
    dimensions,
    integer,
    unlabelled,
)

__all__ = [
    "AxisOf",
    "Coupling",
    "Dim",
    "Indices",
    "Label",
    "Rule",
    "SplitDim",
    "Walk",
    "argument",
    "dimensions",
    "integer",
    "unlabelled",
]
