"""Patterns: the kinds of groups that pruning removes or masks."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from espalier.pruning.budgets import BUDGETS
from espalier.pruning.finding import (
    find_blocks,
    find_dependency_groups,
    find_heads,
    find_weight_elements,
)
from espalier.pruning.groups import Groups


@dataclass(frozen=True)
class Pattern:
    """A kind of groups.

    Attributes:
        find: finds the groups of a network: (network, example, keep) to groups.
        noun: name of the groups in messages.
        cuts: whether groups are removed, so that the network shrinks; else they are masked.
        aligned: whether the widths that are left are multiples of `align`.
        targets: names of the targets that a cut can reach; empty if it has none.
        budgets: names of the budgets that fit.
    """

    find: Callable[[nn.Module, Any, tuple[str, ...]], Groups]
    noun: str
    cuts: bool
    aligned: bool
    targets: tuple[str, ...]
    budgets: tuple[str, ...]


_SIZES = ("keep_macs", "keep_parameters", "bytes", "milliseconds")
_ALL = tuple(BUDGETS)
_WITHOUT_TIME = tuple(name for name in BUDGETS if name != "latency")

PATTERNS: dict[str, Pattern] = {
    "channels": Pattern(find_dependency_groups, "channels", True, True, (*_SIZES, "below"), _ALL),
    "heads": Pattern(find_heads, "attention heads", True, True, _SIZES, _ALL),
    "blocks": Pattern(find_blocks, "residual blocks of one shape", True, False, _SIZES, _ALL),
    "weights": Pattern(
        find_weight_elements, "weights", False, False, ("sparsity", "below"), _WITHOUT_TIME
    ),
    "n_of_m": Pattern(find_weight_elements, "weights", False, False, (), ("global",)),
}
