"""Folding: what two layers compute, computed by one."""

from espalier.folding.batch_norm import fold_batch_norms

__all__ = ["fold_batch_norms"]
