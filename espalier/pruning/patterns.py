"""Patterns: the kinds of groups that pruning removes or masks."""

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from espalier.pruning.groups import Groups


@dataclass(frozen=True)
class Pattern:
    """A kind of groups.

    Attributes:
        finder: function of `espalier.pruning.finding` that finds the groups of a network.
        noun: name of the groups in messages.
        cuts: whether groups are removed, so that the network shrinks; else they are masked.
        aligned: whether the widths that are left are multiples of `align`.
        targets: names of the targets that a cut can reach; empty if it has none.
        budgets: names of the budgets that fit.
    """

    finder: str
    noun: str
    cuts: bool
    aligned: bool
    targets: tuple[str, ...]
    budgets: tuple[str, ...]

    @property
    def find(self) -> "Callable[[nn.Module, Any, tuple[str, ...]], Groups]":
        """The finder: (network, example, keep) to groups. It is imported when it is first used."""
        find: Callable[[nn.Module, Any, tuple[str, ...]], Groups]
        find = resolve_name(f"espalier.pruning.finding:{self.finder}")
        return find


_SIZES = ("keep_macs", "keep_parameters", "bytes", "milliseconds")
_LIMITS = ("below", "below_mean")
_WITHOUT_TIME = ("global", "uniform", "sensitivity")
_ALL = (*_WITHOUT_TIME, "latency")

PATTERNS: dict[str, Pattern] = {
    "channels": Pattern(
        "find_dependency_groups", "channels", True, True, (*_SIZES, *_LIMITS), _ALL
    ),
    "heads": Pattern("find_heads", "attention heads", True, True, _SIZES, _ALL),
    "blocks": Pattern("find_blocks", "residual blocks of one shape", True, False, _SIZES, _ALL),
    "weights": Pattern(
        "find_weight_elements", "weights", False, False, ("sparsity", *_LIMITS), _WITHOUT_TIME
    ),
    "n_of_m": Pattern("find_weight_elements", "weights", False, False, (), ("global",)),
}
