"""Forks stages for the processes that DVC starts, in place of a new Python with its imports.

DVC calls a stage as a shell command. The `espalier` on its path is then a client of a few lines that asks this
server for a fork. The fork runs the real command. It ends with its client, as the client is the stage for DVC.
"""

import json
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

ADDRESS = "ESPALIER_FORKS"
_TICK = 0.2  # seconds between two looks at whether DVC is still there

CLIENT = f"""#!{sys.executable} -ISs
import json, os, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(os.environ[{ADDRESS!r}])
connection.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
sys.exit(int(connection.makefile().readline() or 1))
"""


def write_client(folder: Path) -> None:
    """Write the client, as `espalier`, to a folder that comes first on the path."""
    folder.mkdir(parents=True, exist_ok=True)
    client = folder / "espalier"
    client.write_text(CLIENT)
    client.chmod(0o755)


def start(address: str, run: Callable[[str], int], close: int) -> None:
    """Start the server as a child of this process, which becomes DVC. It ends after DVC and its last stage.

    Args:
        address: path of the socket, which the environment names from now on.
        run: runs a stage, such as `make@student`; returns its exit status.
        close: handle that only this process keeps.
    """
    os.environ[ADDRESS] = address
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        dvc = os.getpid()
        if os.fork() == 0:
            os.close(close)
            _serve(listener, dvc, run)
            os._exit(0)


def _serve(listener: socket.socket, dvc: int, run: Callable[[str], int]) -> None:
    listener.settimeout(_TICK)
    while os.getppid() == dvc:
        with suppress(TimeoutError):
            connection, _ = listener.accept()
            if os.fork() == 0:
                _handle(connection, run)
                os._exit(0)
            connection.close()
        with suppress(ChildProcessError):
            os.waitpid(-1, os.WNOHANG)


def _handle(connection: socket.socket, run: Callable[[str], int]) -> None:
    """Run one stage for its client, and end with it."""
    words = json.loads(connection.makefile().readline())
    stage = os.fork()
    if stage == 0:
        connection.close()
        os._exit(run("@".join(words)))
    handle = os.pidfd_open(stage)
    ended, _, _ = select.select([handle, connection], [], [])
    if handle not in ended:  # the client was killed
        os.kill(stage, signal.SIGKILL)
    _, status = os.waitpid(stage, 0)
    with suppress(OSError):
        connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
