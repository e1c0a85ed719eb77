"""The Prefect server of a project, for users without one. All runs of the project share it.

Prefect can start a server by itself, but that server shares the terminal: Ctrl-C stops it before
the run can report its end, and its tracebacks reach the user. This one has its own session and log
file.

Two locks in the home of the server coordinate the runs; the system releases them when their holders
end, however they end:

| lock | held by | meaning |
|---|---|---|
| `users.lock` | every run, shared | without a holder the server exits |
| `serving.lock` | the server, exclusively | a server is running; without a holder the next run starts one |

A server that was killed is started again at the same address; Prefect repeats the requests that failed
meanwhile.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from espalier.collector import paused_collector
from espalier.errors import BadInput, TryAgain
from espalier.files import read_json_object, write_json
from espalier.interpreter import python_module
from espalier.locks import is_locked, take_lock, try_lock

_CLOSING = 10.0  # seconds that it may take to write its last data
_READY = (
    600.0  # seconds that it may take to create a database; at a load of ten, 160 were not enough
)
_TICK = 0.5  # seconds between two checks that it is running
_STARTS = 4  # a server that ends as often in one run is given up
_AFTER_GIVING_UP = 60.0  # seconds in which the run may stop its stages and end
DATABASE = "prefect.db"
LOG = "server.log"


@dataclass
class Server:
    """The server of a project, as one of its runs sees it.

    Attributes:
        home: folder of its database, log and locks.
        url: address of its API.
        starts: how often this run has started it.
        lost: set when it is given up.
    """

    home: Path
    url: str = ""
    starts: int = 0
    lost: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.home / LOG

    @property
    def serving(self) -> Path:
        """The lock that it holds."""
        return self.home / "serving.lock"

    @property
    def users(self) -> Path:
        """The lock that its runs share."""
        return self.home / "users.lock"

    @property
    def _address(self) -> Path:
        return self.home / "server.json"

    def ensure(self) -> bool:
        """Start it unless it is running; returns whether it was started."""
        starting = take_lock(self.home / "starting.lock")
        try:
            handle = try_lock(self.serving)
            if handle is not None:
                try:
                    self._start(handle)
                finally:
                    os.close(handle)  # the server has inherited it
            self.url = self._recorded_url()
            return handle is not None
        finally:
            os.close(starting)

    def _start(self, lock: int) -> None:
        self.starts += 1
        with _listen(self._recorded_url()) as listener, self.log.open("ab") as log:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
            own = {"PREFECT_HOME": str(self.home), "PREFECT_API_URL": url}
            self._process = subprocess.Popen(
                python_module(__spec__.name, str(listener.fileno()), str(self.users)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                pass_fds=(listener.fileno(), lock),
                env=os.environ | own,
            )
        write_json(self._address, {"url": url, "pid": self._process.pid})

    def _recorded_url(self) -> str:
        try:
            return str(read_json_object(self._address).get("url", ""))
        except BadInput:  # none has been started yet
            return ""

    def wait_until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            TryAgain: if it does not in time.
        """
        deadline = time.monotonic() + _READY
        while time.monotonic() < deadline and not self.lost.is_set():
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=_CLOSING):  # noqa: S310
                return
            time.sleep(_TICK / 2)
        raise TryAgain(
            f"Expected the Prefect server of this project to answer at {self.url}; found no answer: see "
            f"{self.log}, set PREFECT_API_URL to another server, or make all stages by `dvc repro`, which needs none."
        )

    def end(self) -> None:
        """Ask it to exit, and kill it if it does not within some seconds."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if not self._has_ended():
                with suppress(BadInput, ProcessLookupError, KeyError):
                    os.kill(int(read_json_object(self._address)["pid"]), sign)
            deadline = time.monotonic() + _CLOSING
            while not self._has_ended() and time.monotonic() < deadline:
                time.sleep(_TICK / 10)

    def _has_ended(self) -> bool:
        if self._process is not None:
            self._process.poll()  # reaps it
        return not is_locked(self.serving)


@contextmanager
def serve(home: Path, report: Callable[[str], None] = lambda line: None) -> Iterator[Server]:
    """Use the server with its database in `home`; the environment names its API while the block runs.

    The server's socket listens before the server is ready, so the first request waits for it. The last run
    that uses the server ends it.

    Args:
        home: folder of the server.
        report: receives a sentence when the server needs some seconds more, and when it was started again.

    Raises:
        TryAgain: if the server ended too often; the run was then stopped.
    """
    server = Server(home)
    users = take_lock(server.users, shared=True)
    former = os.environ.get("PREFECT_API_URL")
    is_new = not (home / DATABASE).exists()
    try:
        if server.ensure() and is_new:
            report("Prefect makes the database of this project, once: some ten seconds")
        os.environ["PREFECT_API_URL"] = server.url
        with _watched(server, report):
            try:
                yield server
            finally:
                flush()
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        if former is not None:
            os.environ["PREFECT_API_URL"] = former
        _leave(server, users)


def flush() -> None:
    """Send Prefect's pending logs and events, which it would send when the process exits: too late."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        EventsWorker.drain_all(timeout=_CLOSING)
        APILogWorker.drain_all(timeout=_CLOSING)


@contextmanager
def _watched(server: Server, report: Callable[[str], None]) -> Iterator[None]:
    """Keep the server running while the block runs; an end because it was given up is that error's."""
    closing = threading.Event()
    watcher = threading.Thread(target=_watch, args=(server, closing, report), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        closing.set()
        watcher.join()
        if server.lost.is_set():
            raise _lost(server) from None


def _watch(server: Server, closing: threading.Event, report: Callable[[str], None]) -> None:
    """Start the server again when it has ended; a server that ends too often is given up."""
    own = server.url
    while not closing.wait(_TICK):
        started = server.starts < _STARTS and server.ensure()
        if started:
            report(f"Prefect's server had ended: it was started again; see {server.log}")
        if server.url != own or (server.starts >= _STARTS and server._has_ended()):
            server.lost.set()
            threading.Thread(target=_give_up, args=(server, closing), daemon=True).start()
            return


def _give_up(server: Server, closing: threading.Event) -> None:
    """Stop the run as SIGTERM does, and end the process if Prefect, which waits for the server, does not."""
    # it prints every event that it cannot send
    logging.getLogger("prefect._internal.concurrency").setLevel(logging.CRITICAL)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_AFTER_GIVING_UP)
    if not closing.is_set():  # else the main thread has said it
        sys.stderr.write(f"espalier: {_lost(server)}\n")
        sys.stderr.flush()
    os._exit(TryAgain.status)


def _lost(server: Server) -> TryAgain:
    """The error of a run whose server has ended too often."""
    return TryAgain(
        f"Expected the Prefect server of this project to keep running; found that it ended {_STARTS} "
        f"times: see {server.log}. Run again to continue from the last checkpoints."
    )


def _listen(url: str) -> socket.socket:
    """A listening socket: at the port of the former server, where its runs look for it, if it is free."""
    port = url.rpartition(":")[2].partition("/")[0]
    with suppress(OSError):
        return socket.create_server(("127.0.0.1", int(port or 0)))
    return socket.create_server(("127.0.0.1", 0))


def _leave(server: Server, users: int) -> None:
    """Release the server; the last run ends it, and holds new runs off meanwhile."""
    os.close(users)
    last = try_lock(server.users)
    if last is not None:
        try:
            server.end()
        finally:
            os.close(last)
        return
    other = try_lock(server.users, shared=True)
    if other is not None:  # another run uses it
        os.close(other)
        return
    server.end()  # it has found itself without users


def _main() -> None:
    with paused_collector():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app(ephemeral=True)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))

    def watch() -> None:
        while try_lock(Path(sys.argv[2])) is None:  # held until this process ends
            time.sleep(_TICK)
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        server.run(sockets=[listener])


if __name__ == "__main__":
    _main()
