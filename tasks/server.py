"""A Prefect server of the run's own, for those who run none: it starts while other things load, and ends with the run.

Prefect can start one by itself, but that one shares the terminal: Ctrl-C stops it before the run can tell it how it
ended, and its tracebacks reach the user. This one has a session and a log file of its own.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LAST_WORDS = 10.0  # seconds it may take to write what it has received
LOG = "server.log"


@contextmanager
def serve(home: Path) -> Iterator[str]:
    """Run a server with its database in `home`, and yield the URL of its API; the environment names it to Prefect.

    It listens before it is ready, so nobody has to ask whether it is: the first request waits for the answer.
    """
    home.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener, (home / LOG).open("ab") as log:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(listener.fileno())],
            stdin=subprocess.PIPE,  # its end tells the server that we are gone, however we went
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(listener.fileno(),),
            env=os.environ | {"PREFECT_HOME": str(home), "PREFECT_API_URL": url},
        )
    former = os.environ.get("PREFECT_API_URL")
    os.environ["PREFECT_API_URL"] = url
    try:
        yield url
    finally:
        flush()
        if former is None:
            del os.environ["PREFECT_API_URL"]
        else:
            os.environ["PREFECT_API_URL"] = former
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(_LAST_WORDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def flush() -> None:
    """Prefect sends logs and states from threads of its own, at the latest when the process exits: too late here."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        EventsWorker.drain_all(timeout=_LAST_WORDS)
        APILogWorker.drain_all(timeout=_LAST_WORDS)


def _main() -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    server = uvicorn.Server(
        uvicorn.Config(create_app(ephemeral=True), log_level="error", lifespan="on")
    )

    def watch() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        server.run(sockets=[listener])


if __name__ == "__main__":
    _main()
