"""Runs the stages of DVC in forks of the runner, in place of a new Python with its imports for each.

DVC calls a stage as a shell command. The `espalier` on its path is then the stand-in of the warm process, whose
server is a fork of the runner here.
"""

import os
import shlex
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from espalier.warm import client
from espalier.warm.server import Server, become

ADDRESS = "ESPALIER_FORKS"


def write_client(folder: Path) -> None:
    """Write the stand-in, as `espalier`, to a folder that comes first on the path."""
    folder.mkdir(parents=True, exist_ok=True)
    words = " ".join(map(shlex.quote, (sys.executable, "-ISs", client.__file__)))
    stand_in = folder / "espalier"
    stand_in.write_text(f'#!/bin/sh\nexec {words} "${ADDRESS}" espalier "$@"\n')
    stand_in.chmod(0o755)


def start(folder: Path, run: Callable[[str], int], close: int) -> None:
    """Start the server as a child of this process, which becomes DVC. It ends after DVC and its last stage.

    Args:
        folder: gets a folder for the socket, which the server removes unless it is killed.
        run: runs a stage, such as `make@student`; returns its exit status.
        close: handle that only this process keeps.
    """
    os.environ[ADDRESS] = str(Path(tempfile.mkdtemp(dir=folder)) / "socket")
    reads, writes = os.pipe()  # the end of DVC closes the second
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.environ[ADDRESS])
        listener.listen()
        if os.fork() == 0:
            os.close(close)
            os.close(writes)
            os.dup2(reads, sys.stdin.fileno())
            _serve(listener, run)
    os.close(reads)


def _serve(listener: socket.socket, run: Callable[[str], int]) -> None:
    """Run stages until DVC has ended; this process and its forks end here."""
    request = Server(listener, []).serve()
    if request is None:
        os._exit(0)
    become(request)
    os._exit(run("@".join(request.command[1:])))
