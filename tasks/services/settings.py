"""The settings of the services: folders, ports, addresses, passwords, and the environments that follow from them."""

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from espalier import paths
from espalier.errors import BadInput
from espalier.tasks.environment import NO_TELEMETRY
from espalier.tasks.services.passwords import Passwords

LOOPBACK = "127.0.0.1"
USER = "espalier"  # of PostgreSQL, of S3 (the key's number) and of Prefect; MLflow's is `admin`
TRACKING_USER = "admin"
DATABASES = ("mlflow", "prefect")
BUCKETS = ("dvc", "mlflow")
REGION = "us-east-1"  # S3's clients want one; the server has none
FLOWS_POOL = "espalier"  # of the deployments in prefect.yaml
QUEUES = ("gpu", "bench")  # in the pool of the stages, if params.yaml names none
MARK = "ESPALIER_SERVICES"  # variable of all processes that a supervisor has started: its folder
MARK_NAME = "ESPALIER_SERVICE"  # likewise: the name of the service
_LAST_PORT = 2**16 - 1

# variables of a user's shell that would reach the services, which have their own
_FOREIGN = ("AWS_", "MLFLOW_", "PG", "PREFECT_", "RCLONE_")


@dataclass(frozen=True)
class Ports:
    """The ports that the services listen on.

    Attributes:
        postgres: port of PostgreSQL, on the loopback address alone.
        s3: port of the S3 server.
        mlflow: port of MLflow's server.
        prefect: port of Prefect's server.

    Raises:
        BadInput: if a number is no port.
    """

    postgres: int = 5442  # beside a PostgreSQL of the system
    s3: int = 9000
    mlflow: int = 5000
    prefect: int = 4200

    def __post_init__(self) -> None:
        for name, port in asdict(self).items():
            if not 1 <= port <= _LAST_PORT:
                raise BadInput(
                    f"Expected --{name}-port from 1 to {_LAST_PORT}; found {port}: give another one."
                )


@dataclass(frozen=True)
class Settings:
    """The settings of all services.

    Attributes:
        root: folder of the project.
        data: folder of databases, objects and passwords.
        host: address or name that S3, MLflow and Prefect listen on, and that clients use.
        ports: the port of each service.
        queues: names of the queues of stages; each has a worker.
        stages: number of stages that a worker makes at once.
        passwords: the passwords.
    """

    root: Path
    data: Path
    host: str
    ports: Ports
    queues: tuple[str, ...]
    stages: int
    passwords: Passwords

    @property
    def logs(self) -> Path:
        """Folder of the log files and of the file of variables for clients."""
        return self.root / paths.STATE / "fleet"

    @property
    def s3(self) -> str:
        """Address of the S3 server."""
        return f"http://{self.host}:{self.ports.s3}"

    @property
    def mlflow(self) -> str:
        """Address of MLflow's server."""
        return f"http://{self.host}:{self.ports.mlflow}"

    @property
    def prefect(self) -> str:
        """Address of Prefect's API."""
        return f"http://{self.host}:{self.ports.prefect}/api"

    def database(self, name: str, driver: str = "postgresql") -> str:
        """Address of a database, without the password, which the client takes from `PGPASSWORD`."""
        return f"{driver}://{USER}@{LOOPBACK}:{self.ports.postgres}/{name}"

    def environment(self, service: str, own: Mapping[str, str]) -> dict[str, str]:
        """The environment of a service.

        Args:
            service: name of the service.
            own: its own variables.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        scripts = str(Path(sys.executable).parent)
        path = os.pathsep.join([scripts, os.environ.get("PATH", os.defpath)])
        marks = {MARK: str(self.data), MARK_NAME: service}
        return kept | NO_TELEMETRY | {"PATH": path} | marks | dict(own)

    def database_client(self) -> dict[str, str]:
        """The variables of a process that uses PostgreSQL."""
        return {"PGPASSWORD": self.passwords.postgres}

    def s3_client(self) -> dict[str, str]:
        """The variables of a process that uses the S3 server."""
        return {
            "AWS_ACCESS_KEY_ID": USER,
            "AWS_SECRET_ACCESS_KEY": self.passwords.s3,
            "AWS_ENDPOINT_URL": self.s3,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self) -> dict[str, str]:
        """The variables of users and workers."""
        return {
            "PREFECT_API_URL": self.prefect,
            "PREFECT_API_AUTH_STRING": f"{USER}:{self.passwords.prefect}",
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_TRACKING_USERNAME": TRACKING_USER,
            "MLFLOW_TRACKING_PASSWORD": self.passwords.mlflow,
            **self.s3_client(),
        }
