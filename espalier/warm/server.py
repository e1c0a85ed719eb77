"""The warm process: `python -P -m espalier.warm.server HANDLE FUNCTION MODULE...`, started by a run.

The handle is that of a socket that listens, and `package.module:name` the function of every client's command,
which reads its arguments from `sys.argv`. Standard input is held open by the run: at its end no further stage
is taken, and the process ends with its last stage.
"""

import gc
import importlib
import json
import os
import random
import selectors
import shutil
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from types import FrameType

from espalier.collector import paused_collector
from espalier.ending import run_to_end

_LARGEST = 2**22  # bytes of a request
_SECONDS = 5.0  # in which a client has to send its request
_MAY_DIFFER = ("DVC_", "ESPALIER_", "CUDA_VISIBLE_DEVICES", "PATH", "PWD", "OLDPWD", "SHLVL", "_")
"""Variables, or beginnings of their names, that nothing reads while it is imported."""
_AT_START = dict(os.environ)


@dataclass(frozen=True)
class Request:
    """A process that a client stands for.

    Attributes:
        command: path of the command, and its arguments.
        folder: working directory.
        environment: all its variables.
        mask: file mode creation mask.
        streams: handles of standard input, output and error.
        connection: handle of the connection, which tells the client of the end if the server does not.
    """

    command: list[str]
    folder: str
    environment: dict[str, str]
    mask: int
    streams: tuple[int, ...]
    connection: int

    @classmethod
    def receive(cls, connection: socket.socket) -> "Request":
        """Read a request.

        Raises:
            OSError: if none came.
            ValueError: if it is none.
        """
        content, streams, _, _ = socket.recv_fds(connection, 2**16, 3)
        while not content.endswith(b"\n"):
            more = connection.recv(2**16)
            if not more or len(content) > _LARGEST:
                raise ValueError(f"a request of {len(content)} bytes without end")
            content += more
        handle = connection.fileno()
        return cls(**json.loads(content), streams=tuple(streams), connection=handle)

    @property
    def is_at_home(self) -> bool:
        """Whether modules would be imported in its environment as they were in this process."""
        names = self.environment.keys() | _AT_START.keys()
        return all(
            self.environment.get(name) == _AT_START.get(name)
            for name in names
            if not name.startswith(_MAY_DIFFER)
        )


class Server:
    """Takes requests and forks; `serve` returns in the forks, and at the end."""

    def __init__(self, listener: socket.socket, modules: list[str]) -> None:
        """Take the socket that listens, and the names of modules to import, the first needed first."""
        self._listener, self._modules = listener, modules
        self._selector = selectors.DefaultSelector()
        self._clients: dict[socket.socket, int] = {}  # with the handle of the process of each stage
        self._is_wanted = True

    def serve(self) -> Request | None:
        """The request that this process, a fork, has to fulfil; None in the server, at its end.

        Modules are imported while no client waits: a stage that comes early imports what it lacks.
        """
        signal.signal(signal.SIGTERM, self._leave_import)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while self._is_wanted or self._clients:
            events = self._selector.select(0 if self._modules else None)
            for key, _ in events:
                if (request := self._react(key)) is not None:
                    return request
            if not events:
                _import(self._modules.pop(0))
        return None

    def _leave_import(self, _sign: int, _frame: FrameType | None) -> None:
        """End at once if there is no stage: a large module would keep this process for a second."""
        if not self._clients:
            os._exit(0)

    def _react(self, key: selectors.SelectorKey) -> Request | None:
        """React to one event; a request only in the process that has to fulfil it."""
        if key.fileobj is self._listener:
            return self._accept()
        if key.fileobj is sys.stdin:
            self._take_no_more()
        elif isinstance(key.fileobj, socket.socket):
            self._kill_stage(key.fileobj)
        else:
            self._report_end(*key.data)
        return None

    def _accept(self) -> Request | None:
        connection, _ = self._listener.accept()
        connection.settimeout(_SECONDS)
        try:
            request = Request.receive(connection)
        except (OSError, ValueError, TypeError):  # of a client that has been killed
            connection.close()
            return None
        if _is_closed(connection):  # it has waited for too long, and runs the command itself
            for handle in request.streams:
                os.close(handle)
            connection.close()
            return None
        gc.freeze()  # a collection in the fork would copy all pages of the modules
        stage = os.fork()
        if stage == 0:
            self._close_in_fork(connection)
            return request
        for handle in request.streams:
            os.close(handle)
        process = os.pidfd_open(stage)
        self._clients[connection] = process
        self._selector.register(connection, selectors.EVENT_READ)
        self._selector.register(process, selectors.EVENT_READ, (connection, stage))
        _send(connection, stage)
        return None

    def _close_in_fork(self, own: socket.socket) -> None:
        """Close what only the server needs; the own connection stays open until the stage ends."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._selector.close()
        self._listener.close()
        for connection, process in self._clients.items():
            connection.close()
            os.close(process)
        own.detach()

    def _take_no_more(self) -> None:
        """The run has ended: leave nothing, and end with the last stage."""
        folder = Path(self._listener.getsockname()).parent
        self._selector.unregister(sys.stdin)
        self._selector.unregister(self._listener)
        self._listener.close()
        shutil.rmtree(folder, ignore_errors=True)
        self._modules.clear()
        self._is_wanted = False

    def _kill_stage(self, connection: socket.socket) -> None:
        """End the stage of a client that has been killed."""
        if connection not in self._clients:  # its stage ended in the same moment
            return
        self._selector.unregister(connection)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._clients[connection], signal.SIGKILL)

    def _report_end(self, connection: socket.socket, stage: int) -> None:
        """Tell a client how its stage has ended."""
        _, status = os.waitpid(stage, 0)
        _send(connection, os.waitstatus_to_exitcode(status))
        process = self._clients.pop(connection)
        self._selector.unregister(process)
        with suppress(KeyError):  # of a client that has been killed
            self._selector.unregister(connection)
        os.close(process)
        connection.close()


def _import(module: str) -> None:
    """Import a module; one that cannot be imported is the stage's to refuse.

    Modules that append their folders to the search path would put them before the project, which a stage appends
    later: ONNX Runtime's has an `optimizer` and a `metrics`.
    """
    former = list(sys.path)
    with suppress(Exception), paused_collector():
        importlib.import_module(module)
    sys.path[:] = former


def _is_closed(connection: socket.socket) -> bool:
    """Whether the client is gone."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:  # it was killed before it had read an answer
        return True
    finally:
        connection.settimeout(_SECONDS)


def _send(connection: socket.socket, number: int) -> None:
    with suppress(OSError):  # of a client that has been killed
        connection.sendall(f"{number}\n".encode())


def become(request: Request) -> None:
    """Make this process, a fork, the one that a client stands for."""
    for stream, handle in enumerate(request.streams):
        os.dup2(handle, stream)
        os.close(handle)
    os.umask(request.mask)
    os.chdir(request.folder)
    by_imports = {name: value for name, value in os.environ.items() if name not in _AT_START}
    os.environ.clear()
    os.environ.update(by_imports | request.environment)
    random.seed()  # forks would draw the same numbers
    sys.argv = request.command


def _main(arguments: list[str]) -> None:
    """Serve, or in a fork become the process that was asked for."""
    handle, function, *modules = arguments
    request = Server(socket.socket(fileno=int(handle)), modules).serve()
    if request is None:
        return
    become(request)
    if not request.is_at_home:
        os.set_inheritable(request.connection, True)
        os.execve(request.command[0], request.command, request.environment)  # noqa: S606 - the user's
    resolve_name(function)()


if __name__ == "__main__":
    run_to_end(lambda: _main(sys.argv[1:]))
