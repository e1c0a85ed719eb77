"""A service: a process with a log, a health check and an order to stop."""

import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from espalier.tasks.services.settings import MARK, MARK_NAME

_AFTER_KILL = 10.0  # seconds that the kernel may take to end a killed process
_ANSWER = 10.0  # seconds that a server may take to answer a health check
_LOG_BYTES = 10_000_000  # a larger log is renamed when its service starts


def _nothing() -> None:
    """The step of a service that has none."""


@dataclass(frozen=True)
class Service:
    """A process of the fleet.

    Attributes:
        name: its name, and the stem of its log file.
        address: where it answers, for messages.
        command: program and arguments; passwords are never among them, because every user of a machine can
            list the arguments of processes.
        environment: all its variables.
        probe: health check: whether it does its work now.
        prepare: step before each start.
        complete: step after its first answer.
        patience: seconds until its first answer.
        stop: signal that ends it in order.
        with_children: whether the processes that it has started get this signal too.
        children_work: whether these processes do work of their own: they go on when it is started again, and
            are ended before it, so that it can report how they ended.
        grace: seconds from this signal to SIGKILL.
        user: user that it runs as; None for the user of the supervisor.
        folder: working directory.
        listens: address and port that it listens on; None for a client.
    """

    name: str
    address: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    probe: Callable[[], bool]
    folder: Path
    listens: tuple[str, int] | None = None
    prepare: Callable[[], None] = _nothing
    complete: Callable[[], None] = _nothing
    patience: float = 180.0
    stop: signal.Signals = signal.SIGTERM
    with_children: bool = True
    children_work: bool = False
    grace: float = 20.0
    user: str | None = None

    def answers(self) -> bool:
        """Whether it does its work now; one without an answer, or with a wrong one, does not."""
        try:
            return self.probe()
        except Exception:  # a cut-off or wrong answer ends its reader in many ways
            return False

    def start(self, log: Path) -> subprocess.Popen[bytes]:
        """Start it in a session of its own, so that Ctrl-C in the terminal reaches the supervisor alone."""
        self.prepare()
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        with log.open("ab") as output:
            return subprocess.Popen(
                list(self.command),
                cwd=self.folder,
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **as_user(self.user),
            )


def as_user(user: str | None) -> dict[str, Any]:
    """The arguments by which `subprocess` runs a program as another user, without further groups."""
    return {} if user is None else {"user": user, "group": user, "extra_groups": []}


def http_answers(address: str, headers: Mapping[str, str] | None = None) -> bool:
    """Whether an HTTP server answers a request, if only with a refusal.

    Raises:
        OSError: if it cannot be reached; a cut-off answer is an HTTPException.
    """
    request = urllib.request.Request(address, headers=dict(headers or {}))  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER):  # noqa: S310
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500


def end(service: Service, processes: list[psutil.Process]) -> None:
    """End a service's processes: its own signal, then SIGKILL for the ones left after its grace.

    Args:
        service: the service.
        processes: the main process first, if it is left.
    """
    if not processes:
        return
    main, *others = processes
    children = _children(main) if service.with_children else []
    if service.children_work:
        _send(children, service.stop)
        psutil.wait_procs(others, timeout=service.grace)
        children = []
    _send([main, *children], service.stop)
    _, left = psutil.wait_procs(processes, timeout=service.grace)
    _send(left, signal.SIGKILL)
    psutil.wait_procs(left, timeout=_AFTER_KILL)


def _send(processes: list[psutil.Process], sign: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(sign)


def find_processes(data: Path, name: str) -> list[psutil.Process]:
    """The processes of a service that run now, also of a supervisor that was killed: the oldest first.

    They are known by variables that they have inherited; numbers of processes are given again.

    Args:
        data: folder of the services' data.
        name: name of the service.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            variables = process.environ()
            if (variables.get(MARK), variables.get(MARK_NAME)) == (str(data), name):
                found.append((process.create_time(), process.pid, process))
    return [process for *_, process in sorted(found, key=lambda one: one[:2])]


def _children(process: psutil.Process) -> list[psutil.Process]:
    with suppress(psutil.Error):
        return list(process.children())
    return []


def own_user() -> str | None:
    """The user that must run programs that refuse to run as root; None if this is not root."""
    return "postgres" if os.geteuid() == 0 else None
