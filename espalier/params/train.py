"""Entries that are trained on labels alone."""

from typing import Any, Literal

from pydantic import Field

from espalier.params.strict import Trained


class Teacher(Trained):
    """The large network that everything else comes from."""

    by: Literal["train"] = "train"
    model: str
    arguments: dict[str, Any] = {}


class Train(Trained):
    """Trained on labels alone: a new network where `model` is given, else the parent further."""

    by: Literal["train"]
    parent: str = Field(alias="from")
    model: str | None = None
    arguments: dict[str, Any] = {}
