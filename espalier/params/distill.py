"""Entries that a teacher teaches, and what is asked of its answers."""

from typing import Any, Literal

from pydantic import Field

from espalier.params.strict import Strict, Trained


class Soft(Strict):
    """Soft targets (Hinton et al. 2015): the weight of the teacher's answers beside the labels, and the temperature."""

    temperature: float = Field(4.0, gt=0)
    weight: float = Field(0.9, ge=0, le=1)


class Taught(Strict):
    """An entry in which a teacher has a say."""

    soft: Soft = Soft()


class Recovered(Taught):
    """An entry that is made from its parent's network and recovers by distillation from the teacher.

    Attributes:
        finetune: Keys of `training` for the recovery; 0 epochs turn it off.
    """

    finetune: dict[str, Any] = {}


class Distill(Trained, Taught):
    """A new, smaller network taught by its parent."""

    by: Literal["distill"]
    parent: str = Field(alias="from")
    model: str
    arguments: dict[str, Any] = {}
