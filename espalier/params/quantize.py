"""Entries in integers."""

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from espalier.params.distill import Recovered
from espalier.params.strict import Strict

_TEACHING = ("soft", "losses", "teachers", "combine", "finetune")
_MEASURING = ("calibration", "images", "resamples", "ladder")
# without batch norms, and close to an optimum, a network needs small steps
_FINETUNE = {"epochs": 5, "learning_rate": 0.01}


Portion = Annotated[float, Field(gt=0, le=1)]


class LadderSettings(Strict):
    """Steps that are tried in turn while the score on validation drops by more than a limit.

    Attributes:
        limit: largest drop of the score, as a fraction: 0.01 is one point.
        layers: largest number of the most sensitive layers that may stay in floating point.
        aware: whether quantization-aware training is the last step.
    """

    limit: float = Field(0.01, ge=0, lt=1)
    layers: int = Field(4, ge=0)
    aware: bool = True


class Quantize(Recovered):
    """The parent's ONNX file in int8: unsigned activations, signed weights.

    Attributes:
        scheme: `static`: ranges of activations are measured on training images; `dynamic`: in every
            call, for linear layers only; `aware`: they are trained together with the weights.
        calibration: choice of a range from a histogram; with `aware`, of the first range.
        per_channel: whether every filter of a weight has its own scale.
        images: number of training images on which ranges are measured.
        reduce_range: whether weights use 7 bits, which is exact on processors without VNNI, whose
            8-bit products can saturate.
        resamples: number of samples of training images; the median range is used.
        ladder: steps against a drop of the score.
        finetune: keys of `training` for quantization-aware training, over 5 epochs at a learning
            rate of 0.01.
        portions: with `aware`, fractions of the elements of each weight that are quantized, one after
            another and the largest elements first, each followed by a training with `finetune`; the
            last is 1. Empty to train all weights in integers from the start.
    """

    by: Literal["quantize"]
    scheme: Literal["static", "dynamic", "aware"] = "static"
    calibration: Literal["minmax", "percentile", "entropy"] = "entropy"
    per_channel: bool = True
    images: int = Field(256, ge=1)
    reduce_range: bool = True
    resamples: int = Field(1, ge=1)
    ladder: LadderSettings | None = None
    finetune: dict[str, Any] = _FINETUNE
    portions: tuple[Portion, ...] = ()

    @field_validator("finetune", mode="after")
    @classmethod
    def _over_defaults(cls, given: dict[str, Any]) -> dict[str, Any]:
        return _FINETUNE | given

    @property
    def recovers(self) -> bool:
        """Whether the entry may be trained; if not, it does not depend on the teacher."""
        return self.scheme == "aware" or (self.ladder is not None and self.ladder.aware)

    @property
    def trainings(self) -> tuple[dict[str, Any], ...]:
        """Keys of `training` for quantization-aware training, if the entry may be trained."""
        return super().trainings if self.recovers else ()

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.scheme == "dynamic":
            self._refuse(_MEASURING, "`scheme: static`")
        if self.scheme == "aware":
            self._refuse(("resamples", "ladder"), "`scheme: static`")
        if self.scheme != "aware":
            self._refuse(("portions",), "`scheme: aware`")
        if not self.recovers:
            self._refuse(_TEACHING, "`scheme: aware` or a `ladder`")
        return self

    @model_validator(mode="after")
    def _portions_grow_to_all(self) -> Self:
        given = self.portions
        grows = all(before < after for before, after in pairwise(given))
        if given and not (grows and given[-1] == 1):
            raise ValueError(
                f"Expected `portions` to increase to 1, as [0.5, 0.75, 1]; found {list(given)}."
            )
        return self

    def _refuse(self, keys: tuple[str, ...], partner: str) -> None:
        found = [key for key in keys if key in self.model_fields_set]
        if found:
            raise ValueError(
                f"Expected `{found[0]}` to come with {partner}; found `scheme: {self.scheme}`."
            )
