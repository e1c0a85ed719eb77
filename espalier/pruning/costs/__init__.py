"""Costs of a network as functions of the kept groups: work, size, bytes, or time."""

from espalier.pruning.costs.costs import (
    Cost,
    Price,
    Sizes,
    cost,
    macs,
    parameters,
    products,
    rows_and_columns,
)
from espalier.pruning.costs.deployment import (
    Deployment,
    compare_network_latency,
    file_bytes,
    one_tensor,
)
from espalier.pruning.costs.layer_times import compute_layer_times, layer_times
from espalier.pruning.costs.modelled_time import modelled_time, steps_in_block

__all__ = [
    "Cost",
    "Deployment",
    "Price",
    "Sizes",
    "compare_network_latency",
    "compute_layer_times",
    "cost",
    "file_bytes",
    "layer_times",
    "macs",
    "modelled_time",
    "one_tensor",
    "parameters",
    "products",
    "rows_and_columns",
    "steps_in_block",
]
