"""Notifications of moved aliases and of failed runs. A failed notification is a warning."""

import json
import urllib.request
import warnings
from dataclasses import asdict
from typing import Any

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
    _send(address, {"model": name, **asdict(move)}, f"the move of {name}@{move.alias}")


def send_failure(address: str, name: str, message: str) -> None:
    """POST a failed run as JSON: `model`, `state` (`failed`), and `message`.

    A failure is a warning.

    Args:
        address: http or https address; nothing is sent to an empty one.
        name: The registered model.
        message: The sentences of the failed stages.
    """
    content = {"model": name, "state": "failed", "message": message}
    _send(address, content, f"the failure of a run of {name}")


def _send(address: str, content: dict[str, Any], subject: str) -> None:
    if not address:
        return
    body = json.dumps(content).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})  # noqa: S310, http(s) only
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS):  # noqa: S310, likewise
            pass
    except OSError as error:
        warnings.warn(
            f"Expected {address} to accept {subject}; found {error}.",
            Notice,
            stacklevel=3,
        )
