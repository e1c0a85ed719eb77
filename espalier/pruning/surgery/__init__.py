"""Surgery: a new network without some of its groups."""

from espalier.pruning.surgery.cut import cut

__all__ = ["cut"]
