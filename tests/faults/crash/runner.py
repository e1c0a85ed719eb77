"""Runs stages in forks of one process that has imported everything, and ends them at chosen calls.

`python runner.py SHIM`, with the shim preloaded, reads a JSON line per stage from its standard input and
answers with one. A stage takes half a second instead of ten, so thousands of kills are within reach.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import forked_decoders
import registry_state
import stage_server


def main() -> None:
    shim = ctypes.CDLL(sys.argv[1])
    import torch

    torch.set_num_threads(1)  # a pool of threads would not survive the fork
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        if "modules" in request:
            answer: dict[str, Any] = {"imported": import_all(request["modules"])}
        else:
            answer = run_in_fork(shim, request)
        print(json.dumps(answer), file=answers, flush=True)


def import_all(names: list[str]) -> int:
    """Import the modules of a stage; the few that cannot be imported by name are left out."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # a part of another library that wants its own order
            continue
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all pages of the modules
    return len(sys.modules)


def run_in_fork(shim: ctypes.CDLL, request: dict[str, Any]) -> dict[str, Any]:
    """Run one stage to its end, or to the call at which it is killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os._exit(run(shim, request, write))
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        content = pipe.read()
    _, status = os.waitpid(child, 0)
    end = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {"status": end, **(json.loads(content) if content else {})}


def run(shim: ctypes.CDLL, request: dict[str, Any], write: int) -> int:
    """Run the stage in this process; returns its exit status."""
    root = request["root"]
    os.chdir(root)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    forked_decoders.install()
    if request["stage"] == "repro":
        prepare_repro(request, write)
    shim.crash_arm(f"{root}/".encode(), ctypes.c_long(request["at"]), request["mode"])
    status, value = call_safely(request["stage"], Path(root))
    answer = {"calls": shim.crash_count(), "value": value}
    if request.get("modules_wanted"):
        answer["modules"] = sorted(sys.modules)
    with os.fdopen(write, "w") as pipe:
        json.dump(answer, pipe)
    return status


def prepare_repro(request: dict[str, Any], write: int) -> None:
    """Make this process the first of a group, with a server that forks the stages of DVC."""
    os.setsid()
    seconds = request.get("seconds")
    if seconds:  # all processes of the run are killed then
        signal.signal(signal.SIGALRM, lambda _sign, _frame: os.killpg(0, signal.SIGKILL))
        signal.setitimer(signal.ITIMER_REAL, seconds)

    def run_stage(stage: str) -> int:
        return call_safely(stage, Path(request["root"]))[0]

    stage_server.start(Path(request["log"]).parent, run_stage, close=write)


def call_safely(stage: str, root: Path) -> tuple[int, Any]:
    """Call a stage; returns its exit status, and the result of an audit."""
    from espalier.errors import EspalierError

    try:
        return 0, call(stage, root)
    except EspalierError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return error.status, None
    except BaseException:  # a defect, for the log
        traceback.print_exc(file=sys.stdout)
        return 1, None
    finally:
        sys.stdout.flush()


def call(stage: str, root: Path) -> Any:
    """Call the command of a stage as `espalier` does, `dvc repro`, or the audit of the registry."""
    command, _, name = stage.partition("@")
    if command == "audit":
        return registry_state.read(root)
    if command == "repro":
        return repro()
    os.environ["DVC_STAGE"] = stage
    module = importlib.import_module(f"espalier.commands.{command}")
    module.run(root, name) if name else module.run(root)
    return None


def repro() -> None:
    """Call `dvc repro` for all models and their evaluation.

    Raises:
        RuntimeError: if it fails.
    """
    from dvc.cli import main as dvc

    status = dvc(["repro", "--verbose", "evaluate"])
    if status:
        raise RuntimeError(f"dvc repro ended with {status}")


if __name__ == "__main__":
    main()
