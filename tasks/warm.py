"""The warm process of a run: its stages are forks of one process that has imported everything."""

import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from espalier.interpreter import python_module
from espalier.tasks.environment import stage_environment
from espalier.tasks.graph import Stage
from espalier.tasks.project import Project
from espalier.warm import client

SWITCH = "ESPALIER_WARM"  # 0 starts every stage cold
_COMMAND = "espalier"
_FUNCTION = "espalier.flows.cli:run_command"  # of that command
_SERVER = "espalier.warm.server"
_WORTH = 2  # stages for which one process imports faster than each of them
_CLOSING = 5.0  # seconds until the process must have ended
_COLD = ("prepare",)  # stages that import little
_MODULES = (  # in the order of the stages that need them
    "espalier.flows.cli",
    "espalier.commands.make",
    "espalier.making.distill",
    "torch._dynamo",  # by torch.export, before a cut
    "networkx",  # by torch's compiler
    "espalier.making.prune",
    "espalier.making.quantize",
    "onnxruntime.quantization",
    "espalier.commands.evaluate",
    "matplotlib.figure",
    "captum.attr",
    "espalier.registry.connection.imported",
    "espalier.commands.register",
    "espalier.commands.promote",
)


@contextmanager
def warm_process(project: Project, stages: Iterable[Stage]) -> Iterator[None]:
    """Run the stages of this machine as forks of one process, while the block runs.

    There is none for a single stage, nor with a GPU: a fork cannot use a device that was touched before.

    Args:
        project: the project; its `variables` lead DVC to the stand-in of the command.
        stages: the stages that must run.
    """
    here = [one for one in stages if one.label not in project.queues and one.name not in _COLD]
    path = stage_environment()["PATH"]
    command = shutil.which(_COMMAND, path=path)
    if len(here) < _WORTH or command is None or not _is_possible(project):
        yield
        return
    with ExitStack() as stack:
        process = None
        with suppress(OSError):  # no room for the folder, or a path that is too long for a socket
            folder = stack.enter_context(_temporary_folder())
            process = _start(project.root, Path(folder), command)
        if process is None:
            yield
            return
        project.variables["PATH"] = os.pathsep.join([folder, path])
        try:
            yield
            process.communicate(timeout=_CLOSING)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            project.variables.clear()
            _release(process)


def _is_possible(project: Project) -> bool:
    """Whether the system can watch processes as the server does, and no stage uses a GPU."""
    has_device = any(slot.environment for slot in project.slots)
    if sys.platform != "linux" or has_device or os.environ.get(SWITCH) == "0":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:  # an old kernel, or a container that forbids it
        return False
    return True


def _temporary_folder() -> AbstractContextManager[str]:
    """A folder for the socket, which the process removes at its end, if the run does not."""
    return tempfile.TemporaryDirectory(prefix="espalier-", ignore_cleanup_errors=True)


def _start(root: Path, folder: Path, command: str) -> subprocess.Popen[bytes]:
    """Start the process. Its clients can ask at once; they wait until it answers, or has ended."""
    address, stand_in = str(folder / "socket"), folder / _COMMAND
    words = map(shlex.quote, (sys.executable, "-ISs", client.__file__, address, command))
    stand_in.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    stand_in.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        handle = listener.fileno()
        return subprocess.Popen(
            python_module(_SERVER, str(handle), _FUNCTION, *_MODULES),
            cwd=root,
            env=stage_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # what cannot be imported here, the stage refuses itself
            pass_fds=(handle,),
            start_new_session=True,  # Ctrl-C stops the stages, by their clients
        )


def _release(process: subprocess.Popen[bytes]) -> None:
    """Close the input of the process, which ends then, or after its last stage."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
