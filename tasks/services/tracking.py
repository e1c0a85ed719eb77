"""MLflow's server: runs and versions in PostgreSQL, files in S3, and a login."""

from importlib.util import find_spec
from pathlib import Path

from espalier.errors import BadInput
from espalier.interpreter import python_module
from espalier.tasks.services.passwords import write_private
from espalier.tasks.services.service import Service, http_answers
from espalier.tasks.services.settings import LOOPBACK, TRACKING_USER, Settings

_NAME = "mlflow"
_NEEDED = ("flask_wtf", "psycopg2", "boto3")  # modules of the optional dependencies `fleet`


def tracking_server(settings: Settings) -> Service:
    """The service. Clients send files through the server, so that they need no key of S3.

    Raises:
        BadInput: if a package that the server needs is not installed.
    """
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise BadInput(
            f"Expected the modules {', '.join(_NEEDED)}; found no {missing[0]}: "
            "`pip install 'espalier[fleet]'`."
        )
    options = {
        "--host": settings.host,
        "--port": str(settings.ports.mlflow),
        "--backend-store-uri": settings.database(_NAME),
        "--artifacts-destination": "s3://mlflow",
        "--workers": "2",
        "--app-name": "basic-auth",
    }
    words = [word for option in options.items() for word in option]
    return Service(
        name=_NAME,
        address=settings.mlflow,
        command=tuple(python_module("mlflow", "server", *words)),
        environment=settings.environment(_NAME, _variables(settings)),
        probe=lambda: http_answers(f"{settings.mlflow}/health"),
        folder=settings.data,  # uvicorn, which it starts, puts it first on the module search path
        listens=(settings.host, settings.ports.mlflow),
        prepare=lambda: _write_login(settings),
    )


def _variables(settings: Settings) -> dict[str, str]:
    own = {
        "MLFLOW_AUTH_CONFIG_PATH": str(_login(settings)),
        "MLFLOW_AUTH_ADMIN_PASSWORD": settings.passwords.mlflow,  # for a new database
        "MLFLOW_FLASK_SERVER_SECRET_KEY": settings.passwords.mlflow_key,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nothing here has jobs
    }
    if settings.host != LOOPBACK:  # by default it answers to local names and addresses alone
        names = (settings.host, f"{settings.host}:{settings.ports.mlflow}")
        own["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(names)
    return own | settings.database_client() | settings.s3_client()


def _login(settings: Settings) -> Path:
    return settings.data / "mlflow-login.ini"


def _write_login(settings: Settings) -> None:
    """Write the file that names the database of the users, which is that of the runs."""
    lines = (
        "[mlflow]",
        "default_permission = READ",
        f"database_uri = {settings.database(_NAME)}",
        f"admin_username = {TRACKING_USER}",
        "auth_cache_ttl_seconds = 60",  # a check of a password takes 0.5 s on a slow processor
    )
    write_private(_login(settings), "\n".join(lines) + "\n")
