"""The services together: their settings, their order, and the variables of clients."""

import subprocess
from collections.abc import Callable, Collection
from pathlib import Path

from espalier.errors import BadInput, TryAgain
from espalier.params import read_params
from espalier.paths import STATE
from espalier.tasks.services.object_store import object_store
from espalier.tasks.services.orchestration import prefect_server, workers
from espalier.tasks.services.passwords import read_passwords, write_private
from espalier.tasks.services.postgres import postgres
from espalier.tasks.services.service import Service
from espalier.tasks.services.settings import QUEUES, Ports, Settings
from espalier.tasks.services.supervisor import supervise
from espalier.tasks.services.tracking import tracking_server
from espalier.tasks.slots import find_slots

CLIENT = "client.env"
_PASSWORDS = "passwords.json"


def read_settings(root: Path, data: Path, host: str, ports: Ports) -> Settings:
    """The settings of the services; passwords are drawn for a new folder.

    Args:
        root: folder of the project.
        data: folder of databases, objects and passwords.
        host: address or name that the servers listen on.
        ports: ports of the servers.
    """
    params = read_params(root)
    data = data.resolve()
    if not data.exists():
        data.mkdir(parents=True)
        data.chmod(0o711)  # PostgreSQL's user enters it, if the services run as root
    return Settings(
        root=root,
        data=data,
        host=host,
        ports=ports,
        queues=tuple(params.fleet) or QUEUES,
        stages=len(find_slots(root / STATE, params.training.threads)),
        passwords=read_passwords(data / _PASSWORDS),
    )


def run_services(
    settings: Settings, report: Callable[[str], None], only: Collection[str] = ()
) -> None:
    """Run the services until Ctrl-C.

    Args:
        settings: the settings.
        report: receives a sentence about each event.
        only: names of the services to run, for a restoration or on a machine for workers; all if it is empty.

    Raises:
        BadInput: if a program is missing, a port or the data are in use, or no service has one of the names.
        TryAgain: if a service does not start, or ends too often, or a program that prepares it takes
            too long.
    """
    try:
        supervise(
            _chosen(_services(settings), only),
            settings.data,
            settings.logs,
            report,
            lambda: _announce(settings, report),
        )
    except subprocess.TimeoutExpired as late:
        program = late.cmd[0] if isinstance(late.cmd, list) else late.cmd
        raise TryAgain(
            f"Expected {Path(program).name} to end within {late.timeout:g} s; found it still running: the "
            "machine may be overloaded."
        ) from None
    report("all services have ended")


def _services(settings: Settings) -> list[Service]:
    """The services, each after the ones it needs."""
    return [
        postgres(settings),
        object_store(settings),
        tracking_server(settings),
        prefect_server(settings),
        *workers(settings),
    ]


def _chosen(services: list[Service], only: Collection[str]) -> list[Service]:
    names = [service.name for service in services]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise BadInput(f"Expected services of {', '.join(names)}; found {unknown[0]}.")
    return [service for service in services if not only or service.name in only]


def _announce(settings: Settings, report: Callable[[str], None]) -> None:
    """Write the variables of clients to a file, and report the line that reads it."""
    path = settings.logs / CLIENT
    lines = [f"export {name}={value}" for name, value in settings.client().items()]
    write_private(path, "\n".join(lines) + "\n")
    report(f"all services answer. In another terminal: source {path}")
    report(f"data and passwords are in {settings.data}, logs in {settings.logs}; Ctrl-C ends all")
