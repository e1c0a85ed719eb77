"""Runs stages in forks of one process that has imported everything, and ends them at chosen calls.

`python runner.py SHIM`, with the shim preloaded, reads a JSON line per stage from its standard input and
answers with one. A stage takes half a second instead of ten, so thousands of deaths are within reach.
"""

import ctypes
import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


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
    """Import modules that a stage has imported, except those that cannot be imported by name."""
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:  # a part of another library that wants its own order
            continue
    return len(sys.modules)


def run_in_fork(shim: ctypes.CDLL, request: dict[str, Any]) -> dict[str, Any]:
    """Run one stage to its end, or to the call at which it is killed."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os._exit(run(shim, request, write))
    os.close(write)
    with os.fdopen(read, "rb") as told:
        content = told.read()
    _, status = os.waitpid(child, 0)
    end = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return {"status": end, **(json.loads(content) if content else {})}


def run(shim: ctypes.CDLL, request: dict[str, Any], write: int) -> int:
    """Run the stage in this process; returns its exit status."""
    from espalier.errors import EspalierError

    root = request["root"]
    os.chdir(root)
    os.environ["DVC_STAGE"] = request["stage"]
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    shim.crash_arm(f"{root}/".encode(), ctypes.c_long(request["at"]), request["mode"])
    status, value = 0, None
    try:
        value = call(request["stage"], Path(root))
    except EspalierError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        status = error.status
    except BaseException:  # a defect, for the log
        traceback.print_exc(file=sys.stdout)
        status = 1
    told = {"calls": shim.crash_count(), "value": value}
    if request.get("modules_wanted"):
        told["modules"] = sorted(sys.modules)
    sys.stdout.flush()
    with os.fdopen(write, "w") as pipe:
        json.dump(told, pipe)
    return status


def call(stage: str, root: Path) -> Any:
    """Call the command of a stage as `espalier` does, or the audit of the registry."""
    command, _, name = stage.partition("@")
    if command == "audit":
        return audit(root)
    module = importlib.import_module(f"espalier.commands.{command}")
    module.run(root, name) if name else module.run(root)
    return None


def audit(root: Path) -> dict[str, Any]:
    """The registry: the content hash of each version, the versions of the aliases, the moves by state."""
    from espalier.params import read_params
    from espalier.registry.connection import connect, find_store
    from espalier.registry.promotion.audit import Audit

    name = read_params(root).registry.name
    with connect(find_store(root)) as client:
        versions = client.search_model_versions(f"name = '{name}'")
        aliases = dict(client.get_registered_model(name).aliases)
        moves = Audit(client, name).moves()
    return {
        "versions": sorted(version.tags["espalier.content"] for version in versions),
        "content": {version.version: version.tags["espalier.content"] for version in versions},
        "aliases": {alias: str(version) for alias, version in aliases.items()},
        "moves": [str(move.state) for move in moves],
    }


if __name__ == "__main__":
    main()
