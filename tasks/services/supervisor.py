"""The supervisor: starts services in order, starts one again that has ended, and ends all of them.

A supervisor that is killed leaves its services running. The next one for the same data ends them first.
"""

import os
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from espalier.errors import BadInput, TryAgain
from espalier.holders import read_holder
from espalier.locks import record_holder, try_lock
from espalier.tasks.services.service import Service, end, find_processes

_TICK = 0.5  # seconds between two looks at the processes
_CHECK = 15.0  # seconds between two health checks of a service
_SILENT = 60.0  # seconds without an answer after which this is reported
_STARTS = 5  # a service that starts as often within `_WINDOW` is given up
_WINDOW = 600.0  # seconds
_PAUSE = 5.0  # seconds between the starts of a service


@dataclass
class _Running:
    """A service that has been started.

    Attributes:
        service: the service.
        process: its main process.
        log: its log file.
        starts: the times of its last starts, in seconds of the monotonic clock.
        answered: the time of its last answer.
        checked: the time of its last health check.
        is_silent: whether it was reported that it does not answer.
    """

    service: Service
    process: subprocess.Popen[bytes]
    log: Path
    starts: deque[float] = field(default_factory=lambda: deque(maxlen=_STARTS))
    answered: float = 0.0
    checked: float = 0.0
    is_silent: bool = False


def supervise(
    services: Sequence[Service],
    data: Path,
    logs: Path,
    report: Callable[[str], None],
    on_ready: Callable[[], None],
) -> None:
    """Run services until a KeyboardInterrupt, which is the way to end them.

    Args:
        services: the services, each after the ones it needs.
        data: folder of their data.
        logs: folder of their logs.
        report: receives a sentence about each event.
        on_ready: called when all of them have answered.

    Raises:
        BadInput: if another supervisor has the data, or another program a port.
        TryAgain: if a service does not start, or ends too often. All are ended then.
    """
    with _only_one(data):
        try:
            _end_all(services, data)  # left by a supervisor that was killed
            _check_ports(services)
            running = [_bring_up(service, logs, report) for service in services]
            on_ready()
            _watch(running, data, report)
        except KeyboardInterrupt:
            report("the services are being stopped")
        finally:
            _end_all(services, data)


def _check_ports(services: Sequence[Service]) -> None:
    """Check that no other program listens on the port of a service.

    Raises:
        BadInput: if one of them cannot be used.
    """
    for name, place in ((one.name, one.listens) for one in services if one.listens):
        try:
            socket.create_server(place).close()
        except OSError as error:
            raise BadInput(
                f"Expected port {place[1]} of {place[0]} to be free for {name}; found "
                f"{error.strerror}: stop the program that uses it, or give --{name}-port another one."
            ) from None


@contextmanager
def _only_one(data: Path) -> Iterator[None]:
    """Hold the lock of the data.

    Raises:
        BadInput: if another supervisor holds it.
    """
    path = data / "supervisor.lock"
    lock = try_lock(path)
    if lock is None:
        raise BadInput(
            f"Expected no other supervisor of {data}; found {read_holder(path) or 'one'}: stop it by Ctrl-C."
        )
    try:
        record_holder(lock)
        yield
    finally:
        os.close(lock)


def _bring_up(service: Service, logs: Path, report: Callable[[str], None]) -> _Running:
    """Start a service and wait for its first answer."""
    log = logs / f"{service.name}.log"
    began = time.monotonic()
    running = _Running(service, service.start(log), log)
    running.starts.append(began)
    while not service.answers():
        status = running.process.poll()
        if status is not None or time.monotonic() - began > service.patience:
            found = "no answer" if status is None else f"that it ended with status {status}"
            raise TryAgain(
                f"Expected {service.name} to answer at {service.address} within {service.patience:.0f} s; "
                f"found {found}: see {log}."
            )
        time.sleep(_TICK)
    service.complete()
    running.answered = running.checked = time.monotonic()
    report(f"{service.name} answers at {service.address} after {running.answered - began:.0f} s")
    return running


def _watch(running: Sequence[_Running], data: Path, report: Callable[[str], None]) -> None:
    """Start services again that have ended, and report silent ones, without end."""
    while True:
        time.sleep(_TICK)
        for one in running:
            status = one.process.poll()
            if status is not None:
                _start_again(one, status, data, report)
            elif time.monotonic() - one.checked > _CHECK:
                _check(one, report)


def _start_again(one: _Running, status: int, data: Path, report: Callable[[str], None]) -> None:
    now = time.monotonic()
    name = one.service.name
    if len(one.starts) == _STARTS and now - one.starts[0] < _WINDOW:
        raise TryAgain(
            f"Expected {name} to keep running; found that it ended {_STARTS} times within "
            f"{_WINDOW / 60:.0f} minutes: see {one.log}."
        )
    if now - one.starts[-1] < _PAUSE:
        return
    report(f"{name} ended with status {status}: it is started again; see {one.log}")
    if not one.service.children_work:  # they would keep its port
        end(one.service, find_processes(data, name))
    one.starts.append(now)
    one.process = one.service.start(one.log)
    one.answered = now


def _check(one: _Running, report: Callable[[str], None]) -> None:
    """Ask a service for an answer. A silent one is not killed: a slow machine must not cost its work."""
    answers = one.service.answers()
    now = one.checked = time.monotonic()
    if answers:
        one.answered = now
    if answers == one.is_silent and (answers or now - one.answered > _SILENT):
        one.is_silent = not answers
        name, address = one.service.name, one.service.address
        seconds = f"has not answered for {now - one.answered:.0f} s; see {one.log}"
        report(f"{name} answers again at {address}" if answers else f"{name} {seconds}")


def _end_all(services: Sequence[Service], data: Path) -> None:
    """End what runs of the services, the last one first."""
    for service in reversed(services):
        end(service, find_processes(data, service.name))
