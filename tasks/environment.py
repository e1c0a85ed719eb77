"""The environment of a run and of its stages.

It is set before Prefect is imported, which reads it once.
"""

import os
import sys
from pathlib import Path

from espalier import paths
from espalier.settings.secrets import without_secrets

NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
_TERMINAL = {
    # the default of 20 s is too short to create a database
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    # the terminal shows the stages' lines, not Prefect's
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
}
_USER_SETTINGS = (
    "PREFECT_API_URL",
    "PREFECT_HOME",
    "PREFECT_PROFILE",
    "PREFECT_PROFILES_PATH",
)


def configure_environment(root: Path) -> Path | None:
    """Set the variables that `espalier run` needs and the user has not set.

    Returns:
        The home of the run's own Prefect server; None if the user has configured a server. The
        home lies in the project, so that no other version of Prefect opens its database.
    """
    for name, value in (NO_TELEMETRY | _TERMINAL).items():
        os.environ.setdefault(name, value)
    configured = any(os.environ.get(name) for name in _USER_SETTINGS)
    if configured or _has_profile():
        return None
    home = root / paths.STATE / "prefect"
    os.environ["PREFECT_HOME"] = str(home)
    return home


def _has_profile() -> bool:
    """Whether the user has a profile of Prefect; a user without a home has none."""
    try:
        return (Path.home() / ".prefect" / "profiles.toml").exists()
    except RuntimeError:  # in a container the number of a user may have no entry in passwd
        return False


def locate_registry() -> str:
    """The address of the tracking server, or the command that shows the project's own registry, in its folder."""
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if address.startswith("http"):
        return without_secrets(address)
    return "mlflow ui --backend-store-uri sqlite:///mlflow/store/mlflow.db"


def stage_environment() -> dict[str, str]:
    """The environment of a stage's process: this one, `espalier` on the path, and no telemetry."""
    scripts = str(Path(sys.executable).parent)
    own = {
        "PATH": os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)]),
        # stages run in parallel; spinning threads would slow each down ten times
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONUNBUFFERED": "1",  # lines arrive when they are printed
    }
    return os.environ | NO_TELEMETRY | own
