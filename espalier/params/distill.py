"""Entries that are trained with the outputs of teachers."""

from dataclasses import replace
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from espalier.distillation.settings import Ramp
from espalier.params.classes import Classes
from espalier.params.entry import LIBRARIES, ChildEntry, Further, Parallel
from espalier.params.losses import (
    AnyLoss,
    Labels,
    MutualLoss,
    OwnLoss,
    Share,
    SoftTargets,
    Temperature,
)
from espalier.params.strict import Strict
from espalier.paths import TEACHER


class Soft(Strict):
    """Soft targets (Hinton et al. 2015).

    Attributes:
        temperature: temperature of both distributions.
        weight: weight of the teacher's outputs; the labels have the rest. `{start: 0.9, end: 0}`
            leaves the last steps to the labels.
    """

    temperature: Temperature = 4.0
    weight: Share = 0.9

    @property
    def rest(self) -> float | Ramp:
        """The weight of the labels."""
        if isinstance(self.weight, Ramp):
            return replace(self.weight, start=1 - self.weight.start, end=1 - self.weight.end)
        return 1 - self.weight


class Taught(ChildEntry):
    """An entry whose loss contains the outputs of one or several teachers.

    Attributes:
        soft: short form of the loss: soft targets beside the labels.
        losses: full form of the loss: a weighted sum.
        teachers: ancestors whose outputs are used; by default the parent of a new network, and the
            teacher of the tree for all others.
        combine: how the losses against several teachers are added up: with equal weights, or
            weighted by how right each teacher is about the example.
    """

    soft: Soft = Soft()
    losses: tuple[AnyLoss, ...] | None = Field(None, min_length=1)
    teachers: tuple[str, ...] | None = Field(None, min_length=1)
    combine: Literal["average", "confidence"] = "average"

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.losses and "soft" in self.model_fields_set:
            raise ValueError(
                "Expected `soft` and `losses` not to be given both: `soft` is short for losses of "
                "`labels` and `soft_targets`; found both."
            )
        return self

    @model_validator(mode="after")
    def _has_weight(self) -> Self:
        if not any(loss.weight for loss in self.terms):
            raise ValueError("Expected `losses` to have a weight above 0; found none.")
        return self

    @property
    def terms(self) -> tuple[AnyLoss, ...]:
        """The losses that are summed, in the full form."""
        if self.losses:
            return self.losses
        soft = SoftTargets(
            loss="soft_targets", weight=self.soft.weight, temperature=self.soft.temperature
        )
        return soft, Labels(loss="labels", weight=self.soft.rest)

    @property
    def own_functions(self) -> tuple[str, ...]:
        """Losses that are functions of trusted packages, and factories of peers."""
        losses = [loss.loss for loss in self.terms if isinstance(loss, OwnLoss)]
        peers = [loss.model for loss in self.terms if isinstance(loss, MutualLoss)]
        own = [one for one in peers if one.partition(":")[0] not in LIBRARIES]
        return (*losses, *own)

    @property
    def chosen_teachers(self) -> tuple[str, ...]:
        """Names under `teachers`; empty if the entry leaves them to the operation."""
        return self.teachers or ()


class FadingSoft(Soft):
    """Soft targets whose weight falls to nothing: a network that recovers needs its teacher less and less.

    Attributes:
        weight: weight of the teacher's outputs; the labels have the rest.
    """

    weight: Share = Ramp(0.9, 0.0)


class Recovered(Parallel, Taught):
    """An entry made from its parent's network, which recovers by distillation.

    Attributes:
        soft: short form of the loss: soft targets beside the labels.
        finetune: keys of `training` for the recovery; `epochs: 0` turns it off.
    """

    soft: FadingSoft = FadingSoft()
    finetune: dict[str, Any] = {}

    @property
    def recovers(self) -> bool:
        """Whether the entry may be trained; if not, it does not depend on the teacher."""
        return True

    @property
    def teaching(self) -> tuple[str, ...]:
        """The chosen teachers, or the teacher of the tree."""
        return self.chosen_teachers or (TEACHER,)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The parent, the teacher of the tree, and the chosen teachers."""
        teacher = (TEACHER,) if self.recovers else ()
        return (self.parent, *teacher, *self.chosen_teachers)

    @property
    def recipe_keys(self) -> dict[str, Any]:
        """Keys of `training` for the recovery."""
        return self.finetune


class Distill(Further, Taught):
    """A new, smaller network that learns from its parent, or the parent, taught further.

    Attributes:
        classes: classes of the data that the network answers, or concepts, which are unions of
            them; by default those of the parent.
    """

    by: Literal["distill"]
    classes: Classes = None

    @model_validator(mode="after")
    def _classes_are_of_a_new_network(self) -> Self:
        if self.classes is not None and self.model is None:
            raise ValueError(
                "Expected `model` beside `classes`: without it the parent is taught further, and its "
                "outputs stay; found `classes` without `model`."
            )
        return self

    @model_validator(mode="after")
    def _has_something_to_learn(self) -> Self:
        if self.model is None and set(self.teaching) == {self.parent}:
            raise ValueError(
                f"Expected `model`, a network that learns from {self.parent}; found none. Without it "
                "the parent is taught further, and it learns nothing from itself: `teachers` may name "
                "another."
            )
        return self

    @property
    def concepts(self) -> dict[str, tuple[str, ...]] | None:
        """Names of the classes of each output; None for those of the parent."""
        return self.classes

    @property
    def teaching(self) -> tuple[str, ...]:
        """The chosen teachers; without any the parent, or of a parent taught further the teacher of the tree."""
        return self.chosen_teachers or (self.parent if self.model else TEACHER,)

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The parent and the teachers."""
        return tuple(dict.fromkeys((self.parent, *self.teaching)))
