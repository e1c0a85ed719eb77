"""Telling others that an alias was moved. Whoever cannot be told does not undo it."""

import json
import urllib.request
import warnings
from dataclasses import asdict

from espalier.errors import Notice
from espalier.registry.promotion.audit import Move

_SECONDS = 10.0


def tell(address: str, name: str, move: Move) -> None:
    """POST a move to an address, as JSON: the attributes of the `Move`, and `model`, the registered model's name.

    Args:
        address: http or https; nothing is sent to an empty one.
        name: The registered model.
        move: The line of the audit.
    """
    if not address:
        return
    body = json.dumps({"model": name, **asdict(move)}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310, http(s) only
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310, likewise
            pass
    except OSError as error:
        warnings.warn(
            f"{address} should be told that {name}@{move.alias} moved. Found: {error}.",
            Notice,
            stacklevel=2,
        )
