"""Entries that are cut from their parent."""

from typing import Literal

from pydantic import Field

from espalier.params.distill import Recovered


class Prune(Recovered):
    """Channels of the parent removed, then recovered by distillation from the teacher.

    Attributes:
        score: Which channels matter.
        keep_macs: Multiply-accumulates to keep, as a fraction of the nearest ancestor that no pruning has touched.
        align: Kept channels are a multiple of this, as far as the layer's width is one.
    """

    by: Literal["prune"]
    parent: str = Field(alias="from")
    score: Literal["magnitude", "taylor"] = "magnitude"
    keep_macs: float = Field(gt=0, le=1)
    align: int = Field(8, ge=1)
