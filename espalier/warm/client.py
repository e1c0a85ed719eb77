"""`espalier` as DVC finds it in a run with a warm process: it has the stage run there, and ends as it ends.

`python client.py SOCKET COMMAND WORD...`, with the socket of the server and the path of the command that this
process stands for. Nothing of this package is imported, so that it starts in a few hundredths of a second.
"""

import json
import os
import signal
import socket
import sys
from types import FrameType
from typing import NoReturn

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_STREAMS = (0, 1, 2)
_PATIENCE = 60.0  # seconds for an answer of the server, which may be importing


def main(address: str, command: list[str]) -> NoReturn:
    """Run a command in the warm process, or become it."""
    connection = socket.socket(socket.AF_UNIX)
    stage = _begin(connection, address, command)
    if stage is None:
        os.execv(command[0], command)  # noqa: S606 - the command that the user has called

    def pass_on(sign: int, _frame: FrameType | None) -> None:
        os.kill(stage, sign)

    for sign in _PASSED_ON:
        if signal.getsignal(sign) is not signal.SIG_IGN:  # as under nohup
            signal.signal(sign, pass_on)
    status = _number(connection)
    _end_like(-signal.SIGKILL if status is None else status)


def _begin(connection: socket.socket, address: str, command: list[str]) -> int | None:
    """Ask for a fork that becomes this process; its number, or None if there is no server."""
    mask = os.umask(0)
    os.umask(mask)
    folder = os.getcwd()  # noqa: PTH109 - importing pathlib takes as long as all else here
    variables = dict(os.environ)
    request = {"command": command, "folder": folder, "environment": variables, "mask": mask}
    content = json.dumps(request).encode() + b"\n"
    try:
        connection.connect(address)
        sent = socket.send_fds(connection, [content], _STREAMS)
        connection.settimeout(_PATIENCE)
        connection.sendall(content[sent:])
        stage = _number(connection)
        connection.settimeout(None)
    except OSError:
        return None
    return stage


def _number(connection: socket.socket) -> int | None:
    """The next line, which is a number; None if the other end is closed."""
    line = b""
    while not line.endswith(b"\n"):
        found = connection.recv(1)  # byte by byte, since the next number follows
        if not found:
            return None
        line += found
    return int(line)


def _end_like(status: int) -> NoReturn:
    """End with a status, or by the signal whose negative number it is."""
    if status < 0:
        if status != -signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(abs(status))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
