"""The environment of the run and of its stages, settled before Prefect is imported: Prefect reads it only once."""

import os
import sys
from pathlib import Path

from espalier import paths

OPEN_REGISTRY = (
    "mlflow ui --backend-store-uri sqlite:///mlflow/store/mlflow.db"  # from the project's folder
)

_QUIET = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
_TERMINAL = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # its own 20 are too few to create a database
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the terminal shows the stages' lines, not Prefect's
    "PREFECT_CLI_PROMPT": "false",
}
_CHOSEN = ("PREFECT_API_URL", "PREFECT_HOME", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH")


def settle(root: Path) -> Path | None:
    """Set what `espalier run` needs and the user has not set.

    Returns:
        The home of the run's own Prefect server, if the user has said nothing about one. It is in the project, so that
        no other version of Prefect meets its database.
    """
    for name, value in (_QUIET | _TERMINAL).items():
        os.environ.setdefault(name, value)
    if (
        any(os.environ.get(name) for name in _CHOSEN)
        or (Path.home() / ".prefect" / "profiles.toml").exists()
    ):
        return None
    home = root / paths.STATE / "prefect"
    os.environ["PREFECT_HOME"] = str(home)
    return home


def stage_environment() -> dict[str, str]:
    """What a stage's process sees: this environment, `espalier` on the path, and nobody phoning home."""
    return (
        os.environ
        | _QUIET
        | {
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
            ),
            "OMP_WAIT_POLICY": "PASSIVE",  # stages side by side; spinning threads would cost each a factor of ten
            "PYTHONUNBUFFERED": "1",  # lines come when they are printed
        }
    )
