"""Pruning: scores, budgets, groups of coupled dimensions, and the cut."""

from espalier.pruning.prune import prune, prune_by_spec
from espalier.pruning.spec import PruneSpec
from espalier.pruning.target import Size, Target

__all__ = ["PruneSpec", "Size", "Target", "prune", "prune_by_spec"]
