"""Secrets in texts: passwords and tokens of addresses and of the environment, replaced before a text is written."""

import os
import re
import sys
import traceback
from types import TracebackType
from urllib.parse import parse_qsl, unquote, urlsplit

_MARK = "***"
_SHORTEST = 6  # characters of a value of the environment that is searched for in texts

# user and password before the host; a user alone may be a token
_USER = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:)?//)[^/\s?#'\"]*@")
# the query of an address
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s?#'\"`<>]*\?)[^\s'\"`<>)]+")
# a value in a query without its address, as in messages of HTTP clients
_VALUE = re.compile(
    r"([?&][\w-]*(?:token|secret|password|key|signature)[\w-]*=)[^\s&'\"`)]+", re.IGNORECASE
)
_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|AUTH_STRING|(API|ACCESS|SECRET)_?KEY)$", re.IGNORECASE
)


def without_secrets(text: str) -> str:
    """A text without user and query of addresses, and without the secrets of the environment.

    Args:
        text: message, line of a log, or traceback.

    Example:
        >>> without_secrets("found https://ann:pw@host/x?token=abc")
        'found https://***@host/x?***'
    """
    for secret in _of_environment():
        text = text.replace(secret, _MARK)
    text = _USER.sub(rf"\1{_MARK}@", text)
    text = _QUERY.sub(rf"\1{_MARK}", text)
    return _VALUE.sub(rf"\1{_MARK}", text)


def hide_in_tracebacks() -> None:
    """Print the tracebacks of this process without secrets."""
    sys.excepthook = _print_exception


def _print_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    lines = traceback.format_exception(kind, error, trace)
    sys.stderr.write(without_secrets("".join(lines)))


def _of_environment() -> list[str]:
    """Values of variables with a secret's name, and secrets in addresses; the longest first."""
    found = set()
    for name, value in os.environ.items():
        if _NAME.search(name):
            found.add(value)
        if "//" in value:
            found |= _of_address(value)
    return sorted((one for one in found if len(one) >= _SHORTEST), key=len, reverse=True)


def _of_address(address: str) -> set[str]:
    """The password and the values of the query of an address, as they are and decoded."""
    try:
        parts = urlsplit(address)
        password = parts.password or ""
        values = [value for _, value in parse_qsl(parts.query)]
    except ValueError:
        return set()
    return {password, unquote(password), *values}
