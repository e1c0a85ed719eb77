"""Entries that are cut from their parent."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from espalier.params.distill import Recovered
from espalier.params.strict import Strict

TARGETS = ("keep_macs", "keep_parameters", "bytes", "milliseconds", "sparsity", "below")
_WIDTHS = ("channels", "heads")
_MASKS = ("weights", "n_of_m")


class Sparsify(Strict):
    """Training before the cut, with a penalty that makes what goes small.

    Attributes:
        penalty: What is added to the loss, one of `espalier.pruning.sparse.PENALTIES`.
        strength: Its factor.
        fraction: The part of each layer, smallest first, that `growing` pulls on.
        epochs: How long; the other keys are those of `finetune`.
    """

    penalty: Literal["l1", "l2", "group_lasso", "growing"]
    strength: float = Field(gt=0)
    fraction: float = Field(0.3, gt=0, lt=1)
    epochs: int = Field(3, ge=1)


class Prune(Recovered):
    """The parent with less in it, recovered by distillation from the teacher. One target is given; `n_of_m` has none.

    Attributes:
        pattern: What goes together.
        score: What matters.
        budget: How much goes where.
        keep_macs: Multiply-accumulates to keep, as a fraction of the nearest ancestor that no pruning has touched.
        keep_parameters: Parameters to keep, likewise.
        bytes: Of the deployed float32 file.
        milliseconds: Of the deployed file for one image, in the runtime, on one thread of this device.
        sparsity: The fraction of zeros, for single weights.
        below: What is smaller goes, with `score: threshold`.
        n: How many of every `m` weights stay, for `n_of_m`.
        m: How many weights in a row are a group.
        align: Kept channels are a multiple of this, as far as the layer's width is one.
        keep: Names of layers that stay.
        schedule: How much of the whole cut each of several steps makes.
        steps: How many cuts, with recovery after each.
        between: Keys of `training` for the recovery after every cut but the last, over those of `finetune`.
        sparsify: Training before the first cut.
    """

    by: Literal["prune"]
    parent: str = Field(alias="from")
    pattern: Literal["channels", "heads", "blocks", "weights", "n_of_m"] = "channels"
    score: Literal[
        "magnitude",
        "l1",
        "random",
        "taylor",
        "fisher",
        "hessian",
        "geometric_median",
        "norm_scale",
        "lamp",
        "activation",
        "threshold",
    ] = "magnitude"
    budget: Literal["global", "uniform", "sensitivity", "latency"] = "global"
    keep_macs: float | None = Field(None, gt=0, le=1)
    keep_parameters: float | None = Field(None, gt=0, le=1)
    bytes: int | None = Field(None, ge=1)
    milliseconds: float | None = Field(None, gt=0)
    sparsity: float | None = Field(None, gt=0, lt=1)
    below: float | None = Field(None, gt=0)
    n: int = Field(2, ge=1)
    m: int = Field(4, ge=2)
    align: int = Field(8, ge=1)
    keep: tuple[str, ...] = ()
    schedule: Literal["one_shot", "linear", "cubic", "geometric"] = "one_shot"
    steps: int = Field(1, ge=1)
    between: dict[str, Any] = {"epochs": 1}
    sparsify: Sparsify | None = None

    @property
    def target(self) -> tuple[str, float] | None:
        """The key and value of the target; none for `n_of_m`."""
        given = {key: getattr(self, key) for key in TARGETS if getattr(self, key) is not None}
        return next(iter(given.items()), None)

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        given = [key for key in TARGETS if getattr(self, key) is not None]
        if self.pattern == "n_of_m":
            _refuse(given, "`pattern: n_of_m` should have no target but `n` and `m`")
        elif len(given) != 1:
            found = " and ".join(f"`{key}`" for key in given) or "none"
            raise ValueError(
                f"`by: prune` should have one target of {', '.join(TARGETS)}. Found {found}."
            )
        sensible = {
            "weights": ("sparsity", "below"),
            "channels": tuple(key for key in TARGETS if key != "sparsity"),
        }.get(self.pattern, TARGETS[:4])
        wrong = [key for key in given if key not in sensible]
        _refuse(wrong, f"`pattern: {self.pattern}` should have a target of {', '.join(sensible)}")
        if (self.score == "threshold") != (self.below is not None):
            raise ValueError(
                f"`score: threshold` and `below` should go together. Found `score: {self.score}` "
                f"{'with' if self.below else 'without'} `below`."
            )
        return self

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        given = self.model_fields_set
        if self.pattern != "n_of_m":
            _refuse(given & {"n", "m"}, "`n` and `m` should come with `pattern: n_of_m`")
        elif self.n >= self.m:
            raise ValueError(f"`n` should be smaller than `m`. Found `n: {self.n}`, `m: {self.m}`.")
        if self.pattern not in _WIDTHS:
            _refuse(
                given & {"align"}, f"`align` should come with a pattern of {', '.join(_WIDTHS)}"
            )
        if self.pattern in _MASKS and self.budget == "latency":
            raise ValueError(
                f"`budget: latency` should come with what makes a network faster. Found `{self.pattern}`."
            )
        if self.pattern == "n_of_m" or self.below is not None:
            _refuse(given & {"budget"}, "`budget` should come with a target that leaves a choice")
        return self

    @model_validator(mode="after")
    def _schedule(self) -> Self:
        several = self.steps > 1
        if several != (self.schedule != "one_shot"):
            raise ValueError(
                "`steps` of 2 or more and a `schedule` other than one_shot should go together. Found "
                f"`schedule: {self.schedule}`, `steps: {self.steps}`."
            )
        if several and (self.pattern == "n_of_m" or self.below is not None):
            raise ValueError(
                "`steps` should come with a target that can be approached. Found `n_of_m` or `below`."
            )
        if not several:
            _refuse(
                self.model_fields_set & {"between"},
                "`between` should come with `steps` of 2 or more",
            )
        return self


def _refuse(keys: Any, rule: str) -> None:
    if keys:
        raise ValueError(f"{rule}. Found `{min(keys)}`.")
