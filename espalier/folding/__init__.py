"""Folding: what several layers compute, computed by fewer."""

from espalier.folding.batch_norm import fold_batch_norms
from espalier.folding.linear import fold_linears

__all__ = ["fold_batch_norms", "fold_linears"]
