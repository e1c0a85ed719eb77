"""Libraries that only some data or networks need."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from espalier.errors import BadInput


def optional_library(name: str, purpose: str, *, package: str = "") -> Any:
    """The library of a name, imported.

    Args:
        name: name of the module.
        purpose: its use, in words, for the message.
        package: name of its package; by default that of the module.

    Raises:
        BadInput: if it is not installed; the message says how to install it.
    """
    package = package or name
    if find_spec(name) is None:
        raise BadInput(
            f"Expected the library {package} to be installed for {purpose}; found it is not: "
            f"pip install {package}."
        )
    return import_module(name)
