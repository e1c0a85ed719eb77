"""Entries with fewer layers than their parent."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from espalier.params.distill import Recovered

_TEACHING = ("soft", "losses", "teachers", "combine")
_UNTRAINED = {"epochs": 0}


class Fold(Recovered):
    """The parent with fewer layers.

    Folded batch norms, folded linear layers and equal ranges have equal outputs, so nothing is trained
    without `finetune`. Merged blocks are recovered by distillation from the teacher.

    Attributes:
        fold: Kind of layers that are folded, or `ranges`: factors of channels that move into the next layer.
        keep_macs: For `blocks`: multiply-accumulates to keep, as a fraction of the nearest ancestor
            that no pruning has touched.
        similarity: For `blocks`: smallest similarity of merged blocks; without `keep_macs`, all pairs as
            similar are merged.
        compare: For `blocks`: their `outputs` (linear CKA) or their `weights` (cosine).
    """

    by: Literal["fold"]
    fold: Literal["batch_norms", "linears", "ranges", "blocks"]
    keep_macs: float | None = Field(None, gt=0, le=1)
    similarity: float | None = Field(None, ge=0, le=1)
    compare: Literal["outputs", "weights"] = "outputs"

    @model_validator(mode="before")
    @classmethod
    def _train_blocks_only(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("fold") != "blocks":
            return {"finetune": _UNTRAINED, **given}
        return given

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        targets = ("keep_macs", "similarity")
        given = [key for key in targets if getattr(self, key) is not None]
        if self.fold != "blocks" and self.compare == "weights":
            raise ValueError(
                f"`compare` chooses similar blocks. Expected `fold: blocks`; found `fold: {self.fold}`."
            )
        if self.fold == "blocks" and not given:
            raise ValueError(
                "`fold: blocks` has a target. Expected `keep_macs` or `similarity`; found neither."
            )
        if self.fold != "blocks" and given:
            raise ValueError(
                f"`{given[0]}` is a target of blocks. Expected `fold: blocks`; found "
                f"`fold: {self.fold}`."
            )
        return self

    @model_validator(mode="after")
    def _taught_if_trained(self) -> Self:
        teaching = [key for key in _TEACHING if key in self.model_fields_set]
        if teaching and self.finetune == _UNTRAINED:
            raise ValueError(
                f"Expected `finetune` beside `{teaching[0]}`, because `fold: {self.fold}` is not "
                "trained without it; found none."
            )
        return self
