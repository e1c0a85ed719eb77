"""Notification of a moved alias. A failed notification does not undo the move."""

import json
import urllib.request
import warnings
from dataclasses import asdict

from espalier.errors import Notice
from espalier.registry.promotion.audit import Move

_SECONDS = 10.0


def send_webhook(address: str, name: str, move: Move) -> None:
    """POST a move as JSON: the attributes of the `Move`, and `model`, the name of the registered model.

    A failure is a warning.

    Args:
        address: http or https address; nothing is sent to an empty one.
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
            f"Expected {address} to accept the move of {name}@{move.alias}; found {error}.",
            Notice,
            stacklevel=2,
        )
