"""Notifications of moved aliases and of failed runs. A failed notification is a warning."""

import hashlib
import hmac
import json
import os
import threading
import warnings
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from espalier.errors import Notice
from espalier.registry.promotion.audit import Move
from espalier.settings.secrets import without_secrets

SECRET = "ESPALIER_WEBHOOK_SECRET"  # noqa: S105, the name of the variable
SIGNATURE = "X-Espalier-Signature-256"
SECONDS = 10.0
_VARIABLE = "env:"


def send_webhook(address: str, name: str, move: Move) -> None:
    """POST a move as JSON: the attributes of the `Move`, and `model`, the name of the registered model.

    A failure is a warning.

    Args:
        address: http or https address, or `env:NAME` for that in an environment variable; nothing is sent
            to an empty one.
        name: name of the registered model.
        move: line of the audit.
    """
    _send(address, {"model": name, **asdict(move)}, f"the move of {name}@{move.alias}")


def send_failure(address: str, name: str, message: str) -> None:
    """POST a failed run as JSON: `model`, `state` (`failed`), and `message`.

    A failure is a warning.

    Args:
        address: http or https address, or `env:NAME`; nothing is sent to an empty one.
        name: name of the registered model.
        message: sentences of the failed stages.
    """
    content = {"model": name, "state": "failed", "message": without_secrets(message)}
    _send(address, content, f"the failure of a run of {name}")


def _send(address: str, content: dict[str, Any], subject: str) -> None:
    if not address:
        return
    target = _resolve(address)
    problem = _post(target, json.dumps(content).encode()) if target else "no such variable"
    if problem:
        warnings.warn(
            f"Expected the webhook {_public(address)} to accept {subject}; found {problem}.",
            Notice,
            stacklevel=3,
        )


def _resolve(address: str) -> str:
    """The address itself, or the content of the environment variable that it names."""
    if address.startswith(_VARIABLE):
        return os.environ.get(address.removeprefix(_VARIABLE), "")
    return address


def _public(address: str) -> str:
    """The part of an address that holds no secret: tokens are in its path, query and user."""
    if address.startswith(_VARIABLE):
        return address
    try:
        parts = urlsplit(address)
    except ValueError:
        return "of registry.webhook"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _post(address: str, body: bytes) -> str:
    """Send the body within a total time; returns what is wrong, without the address, or nothing.

    A thread bounds the total: timeouts of HTTP clients begin again with every byte of an answer.
    """
    problem = [f"no answer within {SECONDS:g} s"]
    thread = threading.Thread(target=_attempt, args=(address, body, problem), daemon=True)
    thread.start()
    thread.join(SECONDS)
    return problem[0]


def _attempt(address: str, body: bytes, problem: list[str]) -> None:
    import requests  # here: it takes 0.07 s, and most runs move no alias

    try:
        with requests.post(
            address,
            data=body,
            headers={"Content-Type": "application/json", **_signature(body)},
            timeout=SECONDS,
            allow_redirects=False,  # a redirected POST becomes a GET without its body
            stream=True,  # the body of the answer is not read
        ) as answer:
            problem[0] = "" if answer.ok and not answer.is_redirect else f"{answer.status_code}"
    except (requests.RequestException, ValueError, OSError) as error:
        # the message of the error would repeat the address and its secrets
        problem[0] = type(error).__name__


def _signature(body: bytes) -> dict[str, str]:
    """The header with the HMAC-SHA256 of the body (RFC 2104), if there is a secret."""
    secret = os.environ.get(SECRET)
    if not secret:
        return {}
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {SIGNATURE: f"sha256={digest}"}
