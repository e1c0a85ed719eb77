"""Entries that a teacher teaches, and what is asked of its answers."""

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from espalier.params.losses import AnyLoss, Labels, SoftTargets, Temperature
from espalier.params.strict import Strict, Trained


class Soft(Strict):
    """Soft targets (Hinton et al. 2015): the weight of the teacher's answers beside the labels, and the temperature."""

    temperature: Temperature = 4.0
    weight: float = Field(0.9, ge=0, le=1)


class Taught(Strict):
    """An entry in which a teacher has a say.

    Attributes:
        soft: The short form of a recipe: soft targets beside the labels.
        losses: The full form: a weighted sum of losses.
        teachers: Models of the tree that this one descends from; by default the one that the
            operation takes.
        combine: How the losses against several teachers are added up: all alike, or the more of
            each the more right it is about the example.
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
                "`labels` and "
                "`soft_targets`; found both."
            )
        return self

    @model_validator(mode="after")
    def _something_to_learn(self) -> Self:
        if not any(loss.weight for loss in self.terms):
            raise ValueError("Expected `losses` to have a weight above 0; found none.")
        return self

    @property
    def terms(self) -> tuple[AnyLoss, ...]:
        """The losses that are summed, whichever form they were given in."""
        if self.losses:
            return self.losses
        soft = SoftTargets(
            loss="soft_targets", weight=self.soft.weight, temperature=self.soft.temperature
        )
        return soft, Labels(loss="labels", weight=1 - self.soft.weight)


class Recovered(Taught):
    """An entry that is made from its parent's network and recovers by distillation from the teacher.

    Attributes:
        finetune: Keys of `training` for the recovery; 0 epochs turn it off.
    """

    finetune: dict[str, Any] = {}

    @property
    def recovers(self) -> bool:
        """Whether it may come to training: an entry that never does needs no teacher."""
        return True


class Distill(Trained, Taught):
    """A new, smaller network taught by its parent."""

    by: Literal["distill"]
    parent: str = Field(alias="from")
    model: str
    arguments: dict[str, Any] = {}
