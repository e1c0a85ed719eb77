"""The memory that a deployed file takes while it is run, in a process that does nothing else."""

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from espalier.errors import EspalierError

if TYPE_CHECKING:
    from espalier.runtimes.onnx_runtime import Runtime

_STATUS = Path("/proc/self/status")


def peak_memory(
    paths: Sequence[Path], image: tuple[int, ...], batches: Sequence[int], threads: int
) -> np.ndarray:
    """The bytes by which the resident memory of a process grows, at its peak, when it opens a file and runs it.

    One fresh process, which has loaded the runtime and no model, forks once for each file: what was open before, or
    how large this process is, has no part in it. What the runtime's own code takes has.

    Args:
        paths: The files.
        image: The shape of an image: channels, height, width.
        batches: How many images it is run on, one after the other; a peak holds those before it.
        threads: Of the runtime.

    Returns:
        The peaks (files, batches); NaN where the system does not tell them (all but Linux).

    Raises:
        EspalierError: If a file cannot be run there.
    """
    if not _STATUS.is_file():
        return np.full((len(paths), len(batches)), np.nan)
    task = {
        "paths": [str(path) for path in paths],
        "image": image,
        "batches": list(batches),
        "threads": threads,
    }
    command = [sys.executable, "-m", __name__]
    alone = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # numpy's threads would not survive a fork
    done = subprocess.run(
        command, input=json.dumps(task), env=alone, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EspalierError(
            f"The deployed files should run in a process of their own. Found {done.stderr.strip()}"
        )
    return np.array([json.loads(line) for line in done.stdout.splitlines()], dtype=float)


def _fresh() -> int:
    """What the fresh process does: a line of peaks for each file."""
    from espalier.runtimes.onnx_runtime import Runtime

    task = json.load(sys.stdin)
    for path in task["paths"]:
        child = os.fork()
        if not child:
            _measure(partial(Runtime, Path(path), task["threads"]), task["image"], task["batches"])
        if os.waitpid(child, 0)[1]:
            return 1
    return 0


def _measure(opened: Callable[[], "Runtime"], image: list[int], batches: list[int]) -> NoReturn:
    """Write the peaks of one file, and end the process at once: what else an exit does can hang in a fork."""
    status = 1
    try:
        before, peaks = _bytes("VmRSS"), []
        runtime = opened()
        for size in batches:
            runtime.run(np.zeros((size, *image), np.uint8))
            peaks.append(_bytes("VmHWM") - before)
        print(json.dumps(peaks), flush=True)  # noqa: T201
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def _bytes(figure: str) -> int:
    lines = _STATUS.read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{figure}:"))


if __name__ == "__main__":
    sys.exit(_fresh())
