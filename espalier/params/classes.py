"""The key `classes` of an entry: the classes of the data, or unions of them, that its model answers."""

from collections import Counter
from typing import Annotated, Any

from pydantic import BeforeValidator

_REST = "rest"
_FORMS = "a list of names of classes, or a mapping from names of concepts to such lists or `rest`"


def _by_concept(given: Any) -> Any:
    """Both forms as one: names of classes by the name of the concept."""
    if given is None:
        return None
    if isinstance(given, list | tuple):
        names = _names(given)
        _check(names, len(names))
        return {name: (name,) for name in names}
    if not isinstance(given, dict):
        raise ValueError(f"Expected `classes` to be {_FORMS}; found {given!r}.")
    found = {
        _name(concept): (_REST,) if members == _REST else _names(members)
        for concept, members in given.items()
    }
    _check([name for members in found.values() for name in members], len(found))
    return found


def _names(given: Any) -> tuple[str, ...]:
    if not isinstance(given, list | tuple) or not given:
        raise ValueError(f"Expected `classes` to be {_FORMS}; found {given!r}.")
    return tuple(_name(one) for one in given)


def _name(given: Any) -> str:
    """A name; YAML reads the name 3 as a number."""
    if isinstance(given, bool) or not isinstance(given, int | str):
        raise ValueError(
            f"Expected a name in `classes` to be text, in quotes where YAML reads something else; "
            f"found {given!r}."
        )
    return str(given)


def _check(names: list[str] | tuple[str, ...], outputs: int) -> None:
    """Refuse fewer than two outputs, and classes in two of them."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"Expected `classes` to have each class once; found {twice[0]!r} twice.")
    if outputs < 2:
        raise ValueError(f"Expected `classes` to have at least two outputs; found {outputs}.")


Classes = Annotated[dict[str, tuple[str, ...]] | None, BeforeValidator(_by_concept)]
"""Names of classes by the name of the concept; None for all classes of the data, one by one."""
