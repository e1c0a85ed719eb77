"""The memory that a deployed file takes while it runs, in a process that does nothing else."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from espalier.errors import EspalierError
from espalier.interpreter import python_module
from espalier.runtimes.runtime import OpenModel

_STATUS = Path("/proc/self/status")


def peak_memory(
    opener: Callable[[Path, int], OpenModel],
    paths: Sequence[Path],
    example: NDArray[Any],
    batches: Sequence[int],
    threads: int,
) -> NDArray[np.float64]:
    """The growth of a process' resident memory, at its peak, when it opens a file and runs it.

    One fresh process that has loaded the runtime but no model forks once for each file, so neither
    what was open before nor the size of this process counts. The runtime's own code counts.

    Args:
        opener: function or class of a module that opens a file for a number of threads.
        paths: the files.
        example: one stored input (...), for its shape and type.
        batches: sizes of the batches that are run one after the other; a peak includes those before
            it.
        threads: number of threads.

    Returns:
        Peaks in bytes (files, batches); NaN where the system does not report them (all but Linux).

    Raises:
        EspalierError: if a file cannot be run there.
    """
    if not _STATUS.is_file():
        return np.full((len(paths), len(batches)), np.nan)
    request = {
        "opener": f"{opener.__module__}:{opener.__name__}",
        "paths": [str(path) for path in paths],
        "shape": example.shape,
        "dtype": example.dtype.name,
        "batches": list(batches),
        "threads": threads,
    }
    command = python_module(__name__)
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # numpy's threads would not survive a fork
    done = subprocess.run(
        command, input=json.dumps(request), env=alone, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EspalierError(
            f"Expected the deployed files to run in a separate process; found {done.stderr.strip()}"
        )
    return np.array([json.loads(line) for line in done.stdout.splitlines()], dtype=float)


def _main() -> int:
    """Print a line of peaks for each file of the request on standard input."""
    request = json.load(sys.stdin)
    opener = resolve_name(request["opener"])
    for path in request["paths"]:
        child = os.fork()
        if not child:
            inputs = (
                np.zeros((size, *request["shape"]), request["dtype"]) for size in request["batches"]
            )
            _measure(partial(opener, Path(path), request["threads"]), inputs)
        if os.waitpid(child, 0)[1]:
            return 1
    return 0


def _measure(opener: Callable[[], OpenModel], inputs: Iterable[NDArray[Any]]) -> NoReturn:
    """Print the peaks of one file, and exit without cleaning up, which can hang in a fork."""
    status = 1
    try:
        before, peaks = _bytes("VmRSS"), []
        model = opener()
        for batch in inputs:
            model.run(batch)
            peaks.append(_bytes("VmHWM") - before)
        print(json.dumps(peaks), flush=True)  # noqa: T201
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def _bytes(key: str) -> int:
    """A value of the status of this process, in bytes."""
    lines = _STATUS.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    sys.exit(_main())
