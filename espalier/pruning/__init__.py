"""Pruning: scores, budgets, groups of dimensions that move together, and the cut itself."""

from espalier.pruning.prune import prune

__all__ = ["prune"]
