"""Folding: several layers replaced by fewer that compute the same, or nearly the same."""

from espalier.folding.batch_norm import fold_batch_norms
from espalier.folding.blocks import fold_blocks
from espalier.folding.linear import fold_linears
from espalier.folding.ranges import equalize_ranges
from espalier.models.equivalence import flush_denormals

__all__ = ["equalize_ranges", "flush_denormals", "fold_batch_norms", "fold_blocks", "fold_linears"]
