"""Translation of MLflow's exceptions into errors that say whether to try again or to give up."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from espalier.errors import BadInput, EspalierError, ServerAway, TryAgain
from espalier.settings.secrets import without_secrets

_TEMPORARY_CODES = frozenset(
    {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
)
_REFUSAL_CODES = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"})
_REFUSAL_STATUSES = (401, 403)
_NO_TEMPORARY = "No usable temporary directory"  # message of Python's tempfile
_LONGEST_REASON = 300  # characters


@contextmanager
def translated(uri: str, shown: str) -> Iterator[None]:
    """Translate failures of the connection to a store; any other exception passes unchanged.

    Args:
        uri: Address of the store.
        shown: Address of the store without its password, for the message.

    Raises:
        ServerAway: If the store is a server that is unavailable, overloaded or out of space.
        TryAgain: If a local store is, or something of this machine failed, as on a full disk.
        BadInput: If the store denies access, or MLflow and its plugins have no store of its kind.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

    try:
        yield
    except EspalierError:
        raise
    except UnsupportedModelRegistryStoreURIException as error:
        raise BadInput(
            f"Expected {shown} to be a store that MLflow knows; found {_reason(error, uri, shown)}"
        ) from None
    except (MlflowException, OSError) as error:
        if _is_local(error):
            raise TryAgain(_local_failure(error)) from error
        reason = _reason(error, uri, shown)
        if _is_refusal(error):
            raise BadInput(
                f"Expected the tracking store {shown} to grant access; found {reason}"
            ) from error
        is_server = not uri.startswith("sqlite:")
        if _is_temporary(error, is_server=is_server):
            kind = ServerAway if is_server and _is_of_connection(error) else TryAgain
            raise kind(
                f"Expected the tracking store {shown} to accept requests; found {reason}"
            ) from error
        raise


def _is_local(error: Exception) -> bool:
    """Whether a folder of this machine failed, and not the store."""
    if not isinstance(error, OSError):
        return False
    no_folder = isinstance(error, FileNotFoundError) and _NO_TEMPORARY in str(error)
    return no_folder or error.errno in (errno.ENOSPC, errno.EDQUOT)


def _local_failure(error: Exception) -> str:
    where = getattr(error, "filename", None) or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108
    found = getattr(error, "strerror", None) or str(error)
    return f"Expected {where} to have room for temporary files; found: {found}."


def _is_refusal(error: Exception) -> bool:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    return getattr(error, "error_code", None) in _REFUSAL_CODES or status in _REFUSAL_STATUSES


def _is_temporary(error: Exception, *, is_server: bool) -> bool:
    if isinstance(error, OSError):  # the exceptions of requests are OSErrors, too
        return True
    code = getattr(error, "error_code", None)
    if code in _TEMPORARY_CODES:
        return True
    # MLflow reports a refused connection as an internal error
    return is_server and code == "INTERNAL_ERROR"


def _is_of_connection(error: Exception) -> bool:
    """Whether the store or the way to it failed, and not a file of this machine."""
    from requests import RequestException

    connection = (RequestException, ConnectionError, TimeoutError)
    return not isinstance(error, OSError) or isinstance(error, connection)


def _reason(error: Exception, uri: str, shown: str) -> str:
    """The message of an error in one line, without passwords."""
    # SQLAlchemy wraps the message of the database in the whole statement; `orig` is the message
    original = getattr(error.__cause__, "orig", error)
    text = without_secrets(str(original).replace(uri, shown))
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
