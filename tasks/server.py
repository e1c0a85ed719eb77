"""The run's own Prefect server, for users without one. It starts and ends with the run.

Prefect can start a server by itself, but that server shares the terminal: Ctrl-C stops it before
the run can report its end, and its tracebacks reach the user. This one has its own session and log
file.
"""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLOSING = 10.0  # seconds that it may take to write its last data
LOG = "server.log"


@contextmanager
def serve(home: Path) -> Iterator[str]:
    """Run a server with its database in `home`; yields the URL of its API, which the environment names.

    The server's socket listens before the server is ready, so the first request waits for it.
    """
    home.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as listener, (home / LOG).open("ab") as log:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, str(listener.fileno())],
            stdin=subprocess.PIPE,  # end of file stops the server, also if this process is killed
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
            process.wait(_CLOSING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def flush() -> None:
    """Send Prefect's pending logs and events, which it would send when the process exits: too late."""
    if "prefect" in sys.modules:
        from prefect.events.worker import EventsWorker
        from prefect.logging.handlers import APILogWorker

        EventsWorker.drain_all(timeout=_CLOSING)
        APILogWorker.drain_all(timeout=_CLOSING)


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
