"""Entries that are cut from their parent."""

from typing import Any, Literal

from pydantic import Field

from espalier.params.distill import Soft
from espalier.params.strict import Strict


class Prune(Strict):
    """Channels of the parent removed, then recovered by distillation from the teacher.

    Attributes:
        score: Which channels matter.
        keep_macs: Multiply-accumulates to keep, as a fraction of the nearest ancestor that no pruning has touched.
        align: Kept channels are a multiple of this, as far as the layer's width is one.
        finetune: Keys of `training` for the recovery; 0 epochs turn it off.
        soft: The distillation of the recovery.
    """

    by: Literal["prune"]
    parent: str = Field(alias="from")
    score: Literal["magnitude", "taylor"] = "magnitude"
    keep_macs: float = Field(gt=0, le=1)
    align: int = Field(8, ge=1)
    finetune: dict[str, Any] = {}
    soft: Soft = Soft()
