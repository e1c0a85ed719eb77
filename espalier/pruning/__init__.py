"""Pruning: scores, budgets, groups of coupled dimensions, and the cut.

Requests (`PruneSpec`, `Target`, `targets_of`) can be read without torch, whose import takes seconds; `prune`,
`prune_by_spec` and `Size` import it when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from espalier.pruning.spec import PruneSpec
from espalier.pruning.target import Target, targets_of

if TYPE_CHECKING:
    from espalier.pruning.pruner import prune, prune_by_spec
    from espalier.pruning.size import Size

_ON_USE = {"prune": "pruner", "prune_by_spec": "pruner", "Size": "size"}


def __getattr__(name: str) -> Any:
    if name not in _ON_USE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ON_USE[name]}"), name)


__all__ = ["PruneSpec", "Size", "Target", "prune", "prune_by_spec", "targets_of"]
