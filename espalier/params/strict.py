"""What all sections of `params.yaml` have in common."""

from dataclasses import fields
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from espalier.training.recipe import Recipe

RECIPE_KEYS = frozenset(field.name for field in fields(Recipe))


class Strict(BaseModel):
    """A section of the file: immutable, and with no other keys than these."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, protected_namespaces=()
    )


class Trained(Strict):
    """An entry that is trained: keys of `training` given here override the defaults for this entry."""

    overrides: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _collect_overrides(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        overrides = {key: value for key, value in given.items() if key in RECIPE_KEYS}
        return {key: value for key, value in given.items() if key not in overrides} | {
            "overrides": overrides
        }
