"""Entries that are factorized."""

from typing import Literal, Self

from pydantic import Field, model_validator

from espalier.params.distill import Recovered


class Factorize(Recovered):
    """The parent with layers replaced by low-rank pairs, then fine-tuned by distillation.

    Exactly one target is given.

    Attributes:
        keep_macs: Multiply-accumulates to keep, as a fraction of the nearest ancestor that no
            pruning has touched.
        keep_parameters: Parameters to keep, likewise.
        align: Ranks are multiples of this.
        keep: Names of layers that are not factorized.
    """

    by: Literal["factorize"]
    keep_macs: float | None = Field(None, gt=0, le=1)
    keep_parameters: float | None = Field(None, gt=0, le=1)
    align: int = Field(8, ge=1)
    keep: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_one_target(self) -> Self:
        targets = ("keep_macs", "keep_parameters")
        given = [key for key in targets if getattr(self, key) is not None]
        if len(given) != 1:
            found = " and ".join(f"`{key}`" for key in given) or "none"
            raise ValueError(
                f"`by: factorize` takes one target. Expected one of {', '.join(targets)}; found "
                f"{found}."
            )
        return self
