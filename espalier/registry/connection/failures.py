"""What MLflow raises, told apart by what should happen next."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from espalier.errors import BadInput, EspalierError, TryAgain

_LATER = frozenset(
    {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
)
_REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED"})
_REFUSED_STATUS = (401, 403)


@contextmanager
def translated(uri: str, shown: str) -> Iterator[None]:
    """Turn what goes wrong between us and the store at `uri` into errors that say so; a defect stays what it is.

    Args:
        uri: The store.
        shown: How it is named to the user, without a password.

    Raises:
        TryAgain: If the store is away, overloaded or out of space.
        BadInput: If it does not let us in.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except EspalierError:
        raise
    except (MlflowException, OSError) as error:
        reason = _reason(error, uri, shown)
        if _is_refusal(error):
            raise BadInput(
                f"The tracking store {shown} should let this user in. Found: {reason}"
            ) from error
        if _is_passing(error, server=not uri.startswith("sqlite:")):
            raise TryAgain(
                f"The tracking store {shown} should take what is registered. Found: {reason}"
            ) from error
        raise


def _is_refusal(error: Exception) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return getattr(error, "error_code", None) in _REFUSED or status in _REFUSED_STATUS


def _is_passing(error: Exception, *, server: bool) -> bool:
    if isinstance(error, OSError):  # requests' errors are, too
        return True
    code = getattr(error, "error_code", None)
    return code in _LATER or (
        server and code == "INTERNAL_ERROR"
    )  # what MLflow says of a refused connection as well


def _reason(error: Exception, uri: str, shown: str) -> str:
    told = getattr(
        error.__cause__, "orig", error
    )  # the database's own words, without the statement around them
    text = re.sub(r"//[^/@\s]*@", "//", str(told).replace(uri, shown))
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}…"
