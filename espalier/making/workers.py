"""Several processes that train one model, started by the command that makes it.

torch's launcher (`torch.distributed.launcher`, the library of torchrun) starts `espalier make NAME` once
for each process, and ends all of them when one fails. Each records its outcome in a file; the command
that started them exits as one process would, with one sentence.
"""

import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from typing import NoReturn

import torch
from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.elastic.rendezvous import RendezvousError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from espalier.errors import BadInput, EspalierError, Stopped, TryAgain, reason_of
from espalier.interpreter import python_module
from espalier.outcomes import STARTER, WORKERS, Outcome, outcome_path, read_outcome
from espalier.settings.machines import Machines
from espalier.settings.secrets import without_secrets

_GRACE = "600"  # seconds that a stopped process may take to write its checkpoint
_JOIN = 900  # seconds in which all machines must begin
_POLL = 0.5  # seconds between two looks for the command that started this process
_LAST_LINES = 20  # of a process that crashed
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def train_together(root: Path, name: str, processes: int) -> None:
    """Make a model by several processes; process 0 writes it.

    Args:
        root: folder of the project.
        name: name of the model.
        processes: number of processes, over all machines.

    Raises:
        EspalierError: if a process failed: its own error, of the one that failed first.
        KeyboardInterrupt: if SIGINT arrived; it is passed on to the processes.
    """
    machines = Machines.of_environment()
    here = machines.processes_here(name, processes)
    _refuse_too_few_devices(name, here)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for context in (chdir(root), _environment(folder), _own_signal_handlers()):
            stack.enter_context(context)
        program, *words = python_module("espalier", "make", name)
        launch = elastic_launch(_config(name, here, machines, folder), program)
        try:
            launch(*words)
        except ChildFailedError as error:
            raise _cause(name, error.failures, Path(folder)) from None
        except SignalException as error:
            _stop(name, error.sigval, Path(folder), processes)
        except (DistError, RendezvousError) as error:
            raise TryAgain(
                f"Expected the processes of {name} to meet within {_JOIN} s; found: {reason_of(error)}: "
                f"try again, on all machines if there are several."
            ) from None


def refuse_torchrun() -> None:
    """Refuse processes that another program than `espalier make` started together.

    Raises:
        BadInput: if this is one.
    """
    size = os.environ.get("WORLD_SIZE", "1")
    if size != "1":
        raise BadInput(
            "Expected `espalier make` to start the processes of a training itself; found one of "
            f"{size} that another program started, as torchrun does: set `processes` of the entry and "
            "run `espalier make` once."
        )


def end_with_command() -> None:
    """End this process when the command that started it is gone.

    torch's launcher gives each process a session of its own, so a SIGKILL of the group of the command
    does not reach them.
    """
    starter = int(os.environ[STARTER])
    threading.Thread(target=_end_after, args=(starter,), daemon=True).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGKILL)


def _refuse_too_few_devices(name: str, processes: int) -> None:
    """Refuse more processes than GPUs where there are GPUs.

    Raises:
        BadInput: if there are too few.
    """
    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise BadInput(
            f"Expected a GPU for each of the {processes} processes of {name} on this machine; found "
            f"{torch.cuda.device_count()}: lower `processes`."
        )


def _config(name: str, here: int, machines: Machines, folder: str) -> LaunchConfig:
    """The configuration of torch's launcher: no restarts, and one process that prints."""
    prints = 0 if machines.own == 0 else None
    redirects = {rank: Std.NONE if rank == prints else Std.ALL for rank in range(here)}
    return LaunchConfig(
        min_nodes=machines.count,
        max_nodes=machines.count,
        nproc_per_node=here,
        run_id=name,
        max_restarts=0,
        # `c10d`, the other backend, unpickles what it reads from the network
        rdzv_backend="static",
        rdzv_endpoint=machines.rendezvous or f"127.0.0.1:{_free_port()}",
        rdzv_configs={"rank": machines.own, "timeout": _JOIN},
        logs_specs=DefaultLogsSpecs(log_dir=folder, redirects=redirects),
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _environment(folder: str) -> Iterator[None]:
    """Set the variables of the processes, and silence torch's launcher, whose lines are about itself."""
    own = {
        WORKERS: folder,
        STARTER: str(os.getpid()),
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": _GRACE,
    }
    # torch's warnings in C++, such as the one about `find_unused_parameters`, do not pass Python's filter
    own["TORCH_CPP_LOG_LEVEL"] = os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR")
    former = dict(os.environ)
    logging.disable(logging.CRITICAL)
    try:
        os.environ.update(own)
        yield
    finally:
        logging.disable(logging.NOTSET)
        for name in (*own, "TORCHELASTIC_SIGNALS_TO_HANDLE"):
            os.environ.pop(name, None)
        os.environ.update(former)


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers that torch's launcher replaces, which it does in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _cause(name: str, failures: Mapping[int, ProcessFailure], folder: Path) -> EspalierError:
    """The error of the process that failed first; errors that followed from it stand back."""
    found = [outcome_path(folder, rank) for rank in failures]
    written = sorted(filter(Path.exists, found), key=lambda path: path.stat().st_mtime_ns)
    outcomes = [outcome for path in written if (outcome := read_outcome(path)) and outcome.status]
    for outcome in outcomes:
        if not outcome.follows:
            return _error_of(outcome)
    if outcomes and len(outcomes) == len(failures):
        return _error_of(outcomes[0])
    silent = (rank for rank in failures if not read_outcome(outcome_path(folder, rank)))
    rank = next(silent, next(iter(failures)))
    return _crash(name, rank, failures[rank], folder)


def _error_of(outcome: Outcome) -> EspalierError:
    """The error of a recorded outcome; the traceback of a defect is printed."""
    if outcome.trace:
        sys.stderr.write(outcome.trace)
    return outcome.error()


def _crash(name: str, rank: int, failure: ProcessFailure, folder: Path) -> EspalierError:
    """The error of a process that a signal ended, or that ended without an outcome."""
    for path in sorted(folder.glob(f"**/{failure.local_rank}/stderr.log")):
        lines = path.read_text(errors="replace").splitlines(keepends=True)
        sys.stderr.write(without_secrets("".join(lines[-_LAST_LINES:])))
    code = failure.exitcode
    if code == -signal.SIGTERM:
        return Stopped(f"{name}: Stopped as asked; the next run continues from its checkpoint.")
    how = f"status {code}" if code >= 0 else signal.Signals(-code).name
    found = f"Expected all processes of {name} to finish; found that process {rank} ended by {how}"
    if code == -signal.SIGKILL:
        return TryAgain(
            f"{found}, as processes do when the memory of the machine runs out: try again."
        )
    return EspalierError(f"{found}: see its last lines above.")


def _stop(name: str, number: int, folder: Path, processes: int) -> NoReturn:
    """End as the processes did, after a signal that was passed on to them.

    Raises:
        EspalierError: of the process that ended first; mostly `Stopped`.
        KeyboardInterrupt: if the signal was SIGINT.
    """
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    paths = [outcome_path(folder, rank) for rank in range(processes)]
    outcomes = [outcome for path in paths if (outcome := read_outcome(path)) and outcome.status]
    for outcome in outcomes:
        if not outcome.follows:
            raise _error_of(outcome)
    raise Stopped(f"{name}: Stopped as asked; the next run continues from its checkpoint.")
