"""Entries of their parent's shape with new weights."""

from typing import Literal

from espalier.params.distill import Recovered


class Baseline(Recovered):
    """A network of the parent's shape with new weights: what a cut has to beat.

    It is taught as a recovery is. Without `epochs` in `finetune` it is trained for as many as the
    parent and its ancestors together, from the last new network on.
    """

    by: Literal["baseline"]
