"""The base of all sections of `params.yaml`."""

from dataclasses import fields

from pydantic import BaseModel, ConfigDict

from espalier.training.recipe import Recipe

RECIPE_KEYS = frozenset(field.name for field in fields(Recipe))


class Strict(BaseModel):
    """A section of the file: immutable, and unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        frozen=True,
        populate_by_name=True,
        protected_namespaces=(),
    )
