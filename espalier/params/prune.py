"""Entries that are pruned from their parent."""

from collections.abc import Collection
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from espalier.params.distill import Recovered
from espalier.params.strict import Strict
from espalier.pruning import PruneSpec, targets_of
from espalier.pruning.spec import Reconstruction
from espalier.pruning.target import TARGETS


class Sparsify(Strict):
    """Training before the cut, with a penalty that shrinks what the cut will remove.

    Attributes:
        penalty: penalty, one of `espalier.pruning.sparse.PENALTIES`.
        strength: factor of the penalty.
        fraction: fraction of each layer, smallest first, that `growing` penalises.
        epochs: number of epochs; the other keys are those of `finetune`.
    """

    penalty: Literal["l1", "l2", "group_lasso", "growing"]
    strength: float = Field(gt=0)
    fraction: float = Field(0.3, gt=0, lt=1)
    epochs: int = Field(3, ge=1)


class Prune(Recovered):
    """The parent with fewer groups, recovered by distillation from the teacher.

    A target is given, or several sizes, and the cut keeps all of them; `n_of_m` has none.

    Attributes:
        pattern: kind of groups.
        score: importance of groups, one of `espalier.pruning.scores.SCORES`, or a function of a
            trusted package, `package.module:function`.
        budget: distribution of the cut over layers.
        keep_macs: multiply-accumulates to keep, as a fraction of the nearest ancestor that no
            pruning has touched.
        keep_parameters: parameters to keep, as a fraction of the same ancestor.
        bytes: size of the deployed float32 file.
        milliseconds: latency of the deployed file for one example, on one thread of this device.
        sparsity: fraction of zeros, for single weights.
        below: size below which weights are removed, with `score: threshold`.
        below_mean: factor of the mean score of a layer below which channels or weights are removed.
        n: number of weights that stay of every `m`, for `n_of_m`.
        m: number of consecutive weights that form a group, for `n_of_m`.
        align: kept widths are multiples of this, where the layer's width is one.
        keep: names of layers that stay.
        schedule: amount of each of several cuts.
        steps: number of cuts, with recovery after each.
        between: keys of `training` for the recovery after every cut but the last, over `finetune`.
        sparsify: training before the first cut.
        reconstruct: whether the kept channels take over what the removed ones did; `layers`: one layer after
            another.
    """

    by: Literal["prune"]
    pattern: Literal["channels", "heads", "blocks", "weights", "n_of_m"] = "channels"
    score: str = "magnitude"
    budget: Literal["global", "uniform", "sensitivity", "latency"] = "global"
    keep_macs: float | None = Field(None, gt=0, le=1)
    keep_parameters: float | None = Field(None, gt=0, le=1)
    bytes: int | None = Field(None, ge=1)
    milliseconds: float | None = Field(None, gt=0)
    sparsity: float | None = Field(None, gt=0, lt=1)
    below: float | None = Field(None, gt=0)
    below_mean: float | None = Field(None, gt=0)
    n: int = Field(2, ge=1)
    m: int = Field(4, ge=2)
    align: int = Field(8, ge=1)
    keep: tuple[str, ...] = ()
    schedule: Literal["one_shot", "linear", "cubic", "geometric"] = "one_shot"
    steps: int = Field(1, ge=1)
    between: dict[str, Any] = {"epochs": 1}
    sparsify: Sparsify | None = None
    reconstruct: Reconstruction = True

    @property
    def own_functions(self) -> tuple[str, ...]:
        """Losses and a score that are functions of trusted packages."""
        own = (self.score,) if ":" in self.score else ()
        return (*super().own_functions, *own)

    @cached_property
    def spec(self) -> PruneSpec:
        """The pruning request of this entry.

        Raises:
            BadInput: if its keys contradict each other.
        """
        values = {name: getattr(self, name) for name in TARGETS}
        return PruneSpec(
            pattern=self.pattern,
            targets=targets_of(**values),
            score=self.score,
            budget=self.budget,
            align=self.align,
            keep=self.keep,
            n=self.n,
            m=self.m,
            schedule=self.schedule,
            steps=self.steps,
            reconstruct=self.reconstruct,
        )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        """Make the request, which checks it, and refuse keys that it does not use."""
        spec = self.spec
        kind = spec.kind
        has_choice = bool(spec.targets) and spec.threshold is None
        if kind.targets:
            self._refuse({"n", "m"}, "`pattern: n_of_m`")
        if not kind.aligned:
            self._refuse({"align", "reconstruct"}, "a pattern of channels, heads")
        if not has_choice:
            self._refuse({"budget"}, "a target that leaves a choice")
        if spec.steps == 1:
            self._refuse({"between"}, "`steps` of 2 or more")
        return self

    @property
    def all_recipe_keys(self) -> tuple[dict[str, Any], ...]:
        """Keys of `training` for the last recovery, and for those before it."""
        return self.finetune, self.between

    @property
    def trainings(self) -> tuple[dict[str, Any], ...]:
        """Keys of `training` for the last recovery, for each before it, and for `sparsify`."""
        between = ({**self.finetune, **self.between},) * (self.steps - 1)
        sparsify = self.sparsify
        before = ({**self.finetune, "epochs": sparsify.epochs},) if sparsify else ()
        return (self.finetune, *between, *before)

    def _refuse(self, keys: Collection[str], partner: str) -> None:
        given = self.model_fields_set & set(keys)
        if given:
            raise ValueError(f"Expected `{min(given)}` only with {partner}; found it without.")
