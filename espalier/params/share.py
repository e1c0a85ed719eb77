"""Entries whose weights share few numbers."""

from typing import Literal, Self

from pydantic import Field, model_validator

from espalier.params.distill import Recovered
from espalier.params.strict import Strict


class Widths(Strict):
    """Bits of an index, by the kind of layer: of convolutions, and of all others."""

    conv: int = Field(8, ge=1, le=12)
    linear: int = Field(5, ge=1, le=12)


class Share(Recovered):
    """The parent with a codebook for every weight, recovered by distillation from the teacher, and packed into a file.

    Attributes:
        method: `kmeans`: 2 ** bits centroids per weight, which `finetune` trains; or `rate`: multiples of a step that
            is learned while the bits are a part of the loss.
        bits: Of an index, for `kmeans`.
        price: Of a bit in mean squares of a weight, for `kmeans`: rare numbers give way; 0 takes the nearest.
        rate: What a kilobyte costs in units of the loss, for `rate`.
        vectors: Biases and what else has one dimension: left, rounded to half the digits, or shared as well.
    """

    by: Literal["share"]
    parent: str = Field(alias="from")
    method: Literal["kmeans", "rate"] = "kmeans"
    bits: Widths | int = 4
    price: float = Field(0.0, ge=0)
    rate: float = Field(0.01, gt=0)
    vectors: Literal["float32", "half", "shared"] = "half"

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        foreign = {"kmeans": {"rate"}, "rate": {"bits", "price"}}[
            self.method
        ] & self.model_fields_set
        if foreign:
            raise ValueError(
                f"`method: {self.method}` should come without `{min(foreign)}`. Found it."
            )
        if isinstance(self.bits, int) and not 1 <= self.bits <= 12:
            raise ValueError(f"`bits` should lie in 1..12. Found `bits = {self.bits}`.")
        return self
