"""Errors of `params.yaml` in one sentence, with the line and the nearest known key."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from espalier.params.entry import Trained
from espalier.params.strict import RECIPE_KEYS
from espalier.paths import PARAMS, TEACHER

_NO_KIND = ("union_tag_invalid", "union_tag_not_found")
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_KINDS_OF_NUMBERS = ("number", "ramp")  # tags where a number or a ramp may stand
Place = tuple[int | str, ...]


def sentence(
    error: ValidationError,
    kinds: Mapping[str, type[BaseModel]],
    text: str = "",
) -> str:
    """The first error, as a sentence for the user.

    Args:
        error: all errors.
        kinds: schema of each kind of entry, by its name under `by`.
        text: content of the file, to find the line.
    """
    first = error.errors()[0]
    place = _place(first["loc"], kinds)
    where = _dotted(place)
    file = PARAMS + _line(text, place)
    if first["type"] in _UNKNOWN:
        known = _known_keys(first["loc"], kinds)
        near = get_close_matches(str(place[-1]), known, 1)
        hint = f"; the nearest known key is `{near[0]}`" if near else ""
        return (
            f"Expected {file} to have no key `{where}`; found {first['input']!r} there; it is "
            f"unknown{hint}."
        )
    if first["type"] == "missing":
        return f"Expected {file} to have the key `{where}`; found none."
    return _reason(first, place, file)


def _dotted(place: Place) -> str:
    return ".".join(str(part) for part in place)


def _reason(first: ErrorDetails, place: Place, file: str) -> str:
    """The sentence of a value that is not valid."""
    where = _dotted(place)
    reason = first["msg"].removeprefix("Value error, ")
    if reason.startswith(("`", "Expected")):
        entry = f"models.{place[1]}: " if place[:1] == ("models",) else ""
        return entry + reason
    if first["type"] in _NO_KIND:
        return _unknown_kind(first, where, file)
    found = f"found {first['input']!r}."
    if reason.startswith("Input should "):
        wanted = reason.removeprefix("Input should ")
        return f"Expected `{where}` in {file} to {wanted}; {found}"
    rule = reason[0].lower() + reason[1:]
    return f"Expected `{where}` in {file} to be valid: {rule}; {found}"


def _unknown_kind(first: ErrorDetails, where: str, file: str) -> str:
    """The sentence of an entry or a loss of no known kind."""
    context = first.get("ctx") or {}
    key = str(context.get("discriminator", "by")).strip("'")
    if key.endswith("()"):  # a function decides, of losses alone
        key = "loss"
    expected = context.get("expected_tags", "another")
    found = first["input"]
    if isinstance(found, dict):
        found = found.get(key)
    return f"Expected `{where}.{key}` in {file} to be one of {expected}; found {found!r}."


def _place(location: Place, kinds: Mapping[str, type[BaseModel]]) -> Place:
    """The keys that lead to a value: the location without the kinds of entries, losses and numbers."""
    kind = _position_of_kind(location)
    keys: list[int | str] = []
    previous: int | str = ""
    for position, key in enumerate(location):
        is_entry = position == kind and key in kinds
        is_loss = isinstance(previous, int)
        if not (is_entry or is_loss or key in _KINDS_OF_NUMBERS):
            keys.append(key)
        previous = key
    return tuple(keys)


def _position_of_kind(location: Place) -> int:
    return 1 if location[:1] == (TEACHER,) else 2


def _known_keys(location: Place, kinds: Mapping[str, type[BaseModel]]) -> list[str]:
    """The keys that an entry, or the training, may have at an unknown key."""
    kind = _position_of_kind(location)
    if len(location) == kind + 2 and location[kind] in kinds:
        schema = kinds[str(location[kind])]
        own = [field.alias or name for name, field in schema.model_fields.items()]
        return [*own, *RECIPE_KEYS] if issubclass(schema, Trained) else own
    return list(RECIPE_KEYS) if location[0] == "training" else []


def _line(text: str, place: Place) -> str:
    """`:N`, the line of the last key that the file has on the way to a place; empty without text."""
    if not text:
        return ""
    node, line = yaml.compose(text), None
    for part in place:
        found = _child(node, part)
        if found is None:
            break
        line, node = found
    return "" if line is None else f":{line}"


def _child(node: Any, part: int | str) -> tuple[int, Any] | None:
    """The line and the node of a key or of an item."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
        item = node.value[part]
        return item.start_mark.line + 1, item
    return None
