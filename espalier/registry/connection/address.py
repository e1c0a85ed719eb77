"""The address of a tracking store: a port that is one, and the driver of a database."""

from urllib.parse import urlsplit

from espalier.errors import BadInput, reason_of

_DATABASES = ("postgresql", "mysql", "mssql", "sqlite")  # of MLflow; its other stores are servers


def check_address(uri: str, shown: str) -> None:
    """Check what can be known of an address without a connection.

    Args:
        uri: Address of the store.
        shown: Address of the store without its password, for messages.

    Raises:
        BadInput: If the port is no number, or the driver of the database is unknown or not installed.
    """
    _check_port(uri, shown)
    if urlsplit(uri).scheme.partition("+")[0] in _DATABASES:
        _check_driver(uri, shown)


def _check_port(uri: str, shown: str) -> None:
    try:
        _ = urlsplit(uri).port
    except ValueError:  # its message may have a part of a password with a slash
        raise BadInput(
            f"Expected the port of the address {shown} to be a number up to 65535; found another. "
            "Write `/`, `@` and `:` of a password as %2F, %40 and %3A."
        ) from None


def _check_driver(uri: str, shown: str) -> None:
    """Check that SQLAlchemy has the dialect of a database, and this environment its driver."""
    from sqlalchemy.engine import make_url  # here: a server's client does without it
    from sqlalchemy.exc import SQLAlchemyError

    try:
        make_url(uri).get_dialect().import_dbapi()
    except (ImportError, SQLAlchemyError, ValueError) as error:
        raise BadInput(
            f"Expected the driver of the address {shown} to be installed; found: {reason_of(error)}. Install "
            "it, or name one that is installed, as in `postgresql+psycopg2://`."
        ) from None
