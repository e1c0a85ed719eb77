"""Entries whose weights have codebooks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from espalier.params.distill import Recovered
from espalier.params.strict import Strict


class Widths(Strict):
    """Bits of a codebook's index, by the kind of layer.

    Attributes:
        conv: Bits for convolutions.
        linear: Bits for all other layers.
    """

    conv: int = Field(8, ge=1, le=12)
    linear: int = Field(5, ge=1, le=12)


class Fineness(Strict):
    """First steps of `method: rate`, as a number of steps in the root mean square of a parameter.

    Attributes:
        weights: steps of weights.
        vectors: steps of parameters of one dimension, if they are shared, too. A bias is few bytes, and its error
            is at every position of its channel.
    """

    weights: float = Field(2.0, gt=0, le=1024)
    vectors: float = Field(2.0, gt=0, le=1024)


class Share(Recovered):
    """The parent with a codebook per weight, fine-tuned by distillation, and packed into a file.

    Attributes:
        method: `kmeans`: 2 ** bits centroids per weight, which `finetune` trains; or `rate`:
            multiples of a learned step, while the price of the bits is part of the loss.
        bits: Bits of an index, for `kmeans`.
        price: Price of a bit in mean squares of a weight, for `kmeans`: rare values move to common
            ones; 0 assigns each element to the nearest centroid.
        rate: Price of a kilobyte in units of the loss, for `rate`.
        fineness: First steps, for `rate`; a parent that has steps already keeps them.
        vectors: Treatment of parameters of one dimension, as biases: left as they are, rounded to
            half the digits, or shared as well.
    """

    by: Literal["share"]
    method: Literal["kmeans", "rate"] = "kmeans"
    bits: Widths | int = 4
    price: float = Field(0.0, ge=0)
    rate: float = Field(0.01, gt=0)
    fineness: Fineness = Fineness()
    vectors: Literal["float32", "half", "shared"] = "half"

    @model_validator(mode="after")
    def _check_method(self) -> Self:
        keys_of_other_method = {"kmeans": {"rate", "fineness"}, "rate": {"bits", "price"}}[
            self.method
        ]
        given = keys_of_other_method & self.model_fields_set
        if given:
            key = min(given)
            raise ValueError(
                f"`{key}` belongs to another method. Expected it absent from `method: "
                f"{self.method}`; "
                f"found `{key}`."
            )
        if "vectors" in self.fineness.model_fields_set and self.vectors != "shared":
            raise ValueError(
                "`fineness.vectors` is of vectors with steps. Expected `vectors: shared` beside it; found "
                f"`vectors: {self.vectors}`."
            )
        if isinstance(self.bits, int) and not 1 <= self.bits <= 12:
            raise ValueError(f"`bits` is out of range. Expected 1..12; found {self.bits}.")
        return self
