"""Finding the groups of a network: tracing, labelling, and a trial cut."""

from espalier.pruning.finding.blocks import find_blocks
from espalier.pruning.finding.dependency_groups import (
    find_dependency_groups,
    find_heads,
    line_of_value,
    traced_shapes,
)
from espalier.pruning.finding.weight_elements import find_weight_elements

__all__ = [
    "find_blocks",
    "find_dependency_groups",
    "find_heads",
    "find_weight_elements",
    "line_of_value",
    "traced_shapes",
]
