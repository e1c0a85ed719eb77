"""Folding: what several layers compute, computed by fewer."""

from espalier.folding.batch_norm import fold_batch_norms
from espalier.folding.denormals import flush_denormals
from espalier.folding.linear import fold_linears
from espalier.folding.similar import fold_blocks

__all__ = ["flush_denormals", "fold_batch_norms", "fold_blocks", "fold_linears"]
