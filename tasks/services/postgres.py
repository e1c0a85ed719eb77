"""PostgreSQL: the databases of MLflow and of Prefect."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from espalier.errors import BadInput, EspalierError
from espalier.tasks.services.passwords import write_private
from espalier.tasks.services.service import Service, as_user, own_user
from espalier.tasks.services.settings import DATABASES, LOOPBACK, USER, Settings

_SYSTEM = Path("/usr/lib/postgresql")  # Debian keeps the programs of each version off the path
_SHORT = 30.0  # seconds that a command of the client may take
_LONG = 300.0  # seconds that a new cluster may take on a slow disk
_FORMER = 30.0  # seconds for which a former process is waited for
_TICK = 0.1  # seconds between two looks at it
_NAME = "postgres"


def postgres(settings: Settings) -> Service:
    """The service.

    Raises:
        BadInput: if PostgreSQL is not installed, in the version of the data if there are some, or its user
            cannot enter the folder.
    """
    data = settings.data / _NAME
    programs = find_programs(data)
    _check_user(data)
    environment = settings.environment(_NAME, {})
    client = _client(settings, environment)
    options = ("-h", LOOPBACK, "-p", str(settings.ports.postgres), "-k", "")  # no socket file
    ready = (str(programs / "pg_isready"), "-q", "-t", "5")
    return Service(
        name=_NAME,
        address=f"{LOOPBACK}:{settings.ports.postgres}",
        command=(str(programs / "postgres"), "-D", str(data), *options),
        environment=environment,
        probe=lambda: _succeeds(ready, client),
        folder=Path("/"),
        listens=(LOOPBACK, settings.ports.postgres),
        prepare=lambda: _prepare(programs, data, settings.passwords.postgres, environment),
        complete=lambda: _make_databases(programs, client),
        stop=signal.SIGINT,  # ends the connections; SIGTERM would wait for the clients to close them
        with_children=False,
        grace=60.0,  # it writes a checkpoint
        user=own_user(),
    )


def find_programs(data: Path) -> Path:
    """The folder of PostgreSQL's programs: of the version that has written the data, if there are some.

    Raises:
        BadInput: if there is none.
    """
    known = {version: folder for folder in _folders() if (version := _version(folder))}
    wanted = (data / "PG_VERSION").read_text().strip() if _is_readable(data / "PG_VERSION") else ""
    if not known:
        raise BadInput(
            "Expected PostgreSQL's programs in the folder of `pg_config --bindir` or in "
            f"{_SYSTEM}/*/bin; found none: `apt-get install postgresql`."
        )
    if wanted and wanted not in known:
        raise BadInput(
            f"Expected PostgreSQL {wanted}, which has written {data}; found {', '.join(known)}: install it, "
            "or move the data by pg_dump and pg_restore (docs/fleet.md)."
        )
    return known[wanted or max(known, key=int)]


def _folders() -> list[Path]:
    """The folders that may hold PostgreSQL's programs."""
    found = sorted(_SYSTEM.glob("*/bin"))
    if shutil.which("pg_config"):
        output = subprocess.run(
            ["pg_config", "--bindir"], capture_output=True, text=True, check=False, timeout=_SHORT
        ).stdout.strip()
        found.append(Path(output))
    return [folder for folder in found if (folder / "initdb").exists()]


def _version(folder: Path) -> str:
    """The main version of the programs in a folder, such as `15`; empty if they do not say it."""
    output = subprocess.run(
        [str(folder / "postgres"), "--version"],
        capture_output=True,
        text=True,
        check=False,
        timeout=_SHORT,
    ).stdout
    return next((word.split(".")[0] for word in output.split() if word[0].isdigit()), "")


def _is_readable(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return False


def _check_user(data: Path) -> None:
    """Check that PostgreSQL's user can enter the folder of its data; root has to give it one of its own.

    Raises:
        BadInput: if there is no such user, or a folder above is closed to it.
    """
    user = own_user()
    if user is None:
        return
    if user not in {one.pw_name for one in pwd.getpwall()}:
        raise BadInput(
            f"Expected a user {user}, because PostgreSQL refuses to run as root; found none: "
            f"`useradd --system {user}`."
        )
    closed = next((one for one in reversed(data.parents) if not _may_enter(user, one)), None)
    if closed is not None:
        raise BadInput(
            f"Expected {closed} to be open to the user {user}, because PostgreSQL refuses to run as root; "
            f"found it closed: `chmod o+x {closed}`, or give --data another folder."
        )


def _may_enter(user: str, folder: Path) -> bool:
    command = ["test", "-x", str(folder)]
    return subprocess.run(command, check=False, timeout=_SHORT, **as_user(user)).returncode == 0


def _prepare(programs: Path, data: Path, password: str, environment: Mapping[str, str]) -> None:
    _make_cluster(programs, data, password, environment)
    await_former(data)


def await_former(data: Path) -> None:
    """Wait for the end of the process that used the data before: PostgreSQL refuses them meanwhile.

    A process that was killed without its supervisor keeps its number until the first process of the machine
    has seen its end, which can take seconds in a container.
    """
    deadline = time.monotonic() + _FORMER
    path = data / "postmaster.pid"
    while time.monotonic() < deadline:
        try:
            number = int(path.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        if not psutil.pid_exists(number):
            return
        time.sleep(_TICK)


def _make_cluster(
    programs: Path, data: Path, password: str, environment: Mapping[str, str]
) -> None:
    """Make the folder of the databases, unless it is there: a folder of this name is complete."""
    if data.exists():
        return
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    secret = data.with_name(".password")
    write_private(secret, password + "\n")
    user = own_user()
    try:
        if user is not None:
            shutil.chown(draft, user, user)
            shutil.chown(secret, user, user)
        options = ("--encoding=UTF8", "--no-locale", "--auth=scram-sha-256", f"--username={USER}")
        command = [str(programs / "initdb"), *options, f"--pwfile={secret}", "-D", str(draft)]
        _run(command, environment, _LONG, user)
        draft.replace(data)
    finally:
        secret.unlink(missing_ok=True)


def _make_databases(programs: Path, client: Mapping[str, str]) -> None:
    """Make the databases that are missing."""
    query = "SELECT datname FROM pg_database"
    present = _run([str(programs / "psql"), "-XAtc", query], client, _SHORT).split()
    for name in DATABASES:
        if name not in present:
            _run([str(programs / "createdb"), name], client, _SHORT)


def _client(settings: Settings, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of PostgreSQL's own clients."""
    place = {
        "PGHOST": LOOPBACK,
        "PGPORT": str(settings.ports.postgres),
        "PGUSER": USER,
        "PGDATABASE": "postgres",
    }
    return dict(environment) | place | settings.database_client() | {"PGCONNECT_TIMEOUT": "5"}


def _succeeds(command: tuple[str, ...], environment: Mapping[str, str]) -> bool:
    done = subprocess.run(command, env=environment, check=False, timeout=_SHORT, cwd="/")
    return done.returncode == 0


def _run(
    command: list[str], environment: Mapping[str, str], seconds: float, user: str | None = None
) -> str:
    """The output of a command.

    Raises:
        EspalierError: if it fails; the message has its last line.
    """
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command,
        env=environment,
        cwd="/",  # its user may not enter the current folder
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        **as_user(user),
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no message"]
        raise EspalierError(
            f"Expected {Path(command[0]).name} to succeed; found status {done.returncode}: {lines[-1]}"
        )
    return done.stdout


def can_run() -> bool:
    """Whether PostgreSQL's programs, and a user to run them, are installed."""
    user = own_user()
    has_user = user is None or user in {one.pw_name for one in pwd.getpwall()}
    return bool(_folders()) and has_user and os.name == "posix"
