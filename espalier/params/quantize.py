"""Entries in integers."""

from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from espalier.params.distill import Recovered
from espalier.params.strict import Strict

_TEACHING = ("soft", "losses", "teachers", "combine", "finetune")
_MEASURING = ("calibration", "images", "resamples", "ladder")
# a network without batch norms, close to where it should end, wants small steps
_FINETUNE = {"epochs": 5, "learning_rate": 0.01}


class Climb(Strict):
    """What to do when too much accuracy is lost on validation: one measure after another until one is enough.

    Attributes:
        limit: How much accuracy may be lost, as a fraction: 0.01 is a point.
        layers: How many of the most sensitive layers may stay in floating point.
        aware: Whether to train for integers at last.
    """

    limit: float = Field(0.01, ge=0, lt=1)
    layers: int = Field(4, ge=0)
    aware: bool = True


class Quantize(Recovered):
    """The parent's ONNX file in int8: unsigned activations, signed weights.

    Attributes:
        scheme: `static`: ranges of activations are measured on training images; `dynamic`: in every
            call, for linear layers alone; `aware`: they are learned with the weights, taught by the
            teacher.
        calibration: How a range is chosen from what was measured; of `aware`, the first one.
        per_channel: A scale for every filter of a weight, instead of one for all of them.
        images: How many training images are measured.
        reduce_range: 7-bit weights: exact on processors without VNNI, whose 8-bit products can
            saturate.
        resamples: On how many samples of the training images ranges are measured, of which the
            median is taken.
        ladder: What to do when too much accuracy is lost.
        finetune: Keys of `training` for quantization-aware training, over 5 epochs at a learning
            rate of 0.01.
    """

    by: Literal["quantize"]
    parent: str = Field(alias="from")
    scheme: Literal["static", "dynamic", "aware"] = "static"
    calibration: Literal["minmax", "percentile", "entropy"] = "entropy"
    per_channel: bool = True
    images: int = Field(256, ge=1)
    reduce_range: bool = True
    resamples: int = Field(1, ge=1)
    ladder: Climb | None = None
    finetune: dict[str, Any] = _FINETUNE

    @field_validator("finetune", mode="after")
    @classmethod
    def _over_defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        return _FINETUNE | given

    @property
    def recovers(self) -> bool:
        """Whether it may come to training, and to a teacher."""
        return self.scheme == "aware" or (self.ladder is not None and self.ladder.aware)

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.scheme == "dynamic":
            self._refuse(_MEASURING, "`scheme: static`")
        if self.scheme == "aware":
            self._refuse(("resamples", "ladder"), "`scheme: static`")
        if not self.recovers:
            self._refuse(_TEACHING, "`scheme: aware` or a `ladder`")
        return self

    def _refuse(self, keys: tuple[str, ...], partner: str) -> None:
        found = [key for key in keys if key in self.model_fields_set]
        if found:
            raise ValueError(
                f"Expected `{found[0]}` to come with {partner}; found `scheme: {self.scheme}`."
            )
