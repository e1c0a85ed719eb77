"""Groups of weights that are removed together: channels, heads, blocks, or single weights."""

from espalier.pruning.groups.block_groups import BlockGroups
from espalier.pruning.groups.dependency_groups import ComputeLayer, DependencyGroups, Product
from espalier.pruning.groups.groups import Groups, stay_with
from espalier.pruning.groups.kept_outputs import (
    KeptOutputs,
    kept_outputs_of,
    record_kept_outputs,
)
from espalier.pruning.groups.weight_elements import WeightElements

__all__ = [
    "BlockGroups",
    "ComputeLayer",
    "DependencyGroups",
    "Groups",
    "KeptOutputs",
    "Product",
    "WeightElements",
    "kept_outputs_of",
    "record_kept_outputs",
    "stay_with",
]
