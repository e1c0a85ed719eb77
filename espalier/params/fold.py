"""Entries that are folded from their parent."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from espalier.params.distill import Recovered


class Fold(Recovered):
    """The parent with fewer layers.

    Batch norms and linear layers are folded exactly, so there is nothing to recover from: without `finetune` nothing
    is trained. Merged blocks are recovered by distillation from the teacher.

    Attributes:
        fold: What is folded.
        keep_macs: Of `blocks`: merge until this part of the multiply-accumulates of the nearest ancestor that no
            pruning has touched is left.
        similarity: Of `blocks`: merge only what is at least so similar (CKA); without `keep_macs`, all of it.
    """

    by: Literal["fold"]
    parent: str = Field(alias="from")
    fold: Literal["batch_norms", "linears", "blocks"]
    keep_macs: float | None = Field(None, gt=0, le=1)
    similarity: float | None = Field(None, ge=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _rest_if_exact(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("fold") != "blocks":
            return {"finetune": {"epochs": 0}, **given}
        return given

    @model_validator(mode="after")
    def _end(self) -> Self:
        given = [key for key in ("keep_macs", "similarity") if getattr(self, key) is not None]
        if self.fold == "blocks" and not given:
            raise ValueError(
                "`fold: blocks` should end at some `keep_macs` or `similarity`. Found neither."
            )
        if self.fold != "blocks" and given:
            raise ValueError(
                f"`{given[0]}` should come with `fold: blocks` only. Found it with `fold: {self.fold}`."
            )
        return self
