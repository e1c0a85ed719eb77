"""Functions of the user's packages, by their place."""

from pkgutil import resolve_name
from typing import Any

from espalier.errors import BadInput, reason_of


def own_function(place: str) -> Any:
    """The function at `package.module:function`, whose package is imported.

    Raises:
        BadInput: if it cannot be imported; the message has the reason.
    """
    try:
        return resolve_name(place)
    except Exception as error:  # whatever the user's own module does while it is imported
        raise BadInput(
            f"Expected {place!r} to be importable, as package.module:function; found "
            f"{reason_of(error)}."
        ) from error
