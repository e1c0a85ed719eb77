"""Files from elsewhere run in a process of their own, with limits on its memory and time.

A few hundred bytes of ONNX can ask for gigabytes, or compute for hours. In that process the kernel
refuses the memory (`RLIMIT_DATA`, Linux), and the process is killed when its time is over.
"""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from espalier.errors import BadInput, EspalierError, TryAgain
from espalier.runtimes.runtime import OpenModel, RunLimits
from espalier.settings.limits import largest_run

_SPARE = 5  # seconds after which the process ends by itself, if this one was killed
_LONGEST = 65536  # bytes of a line between the processes


class Guarded:
    """Deployed files that another process opens, one after another; close it, or use it as a context."""

    def __init__(
        self,
        opener: Callable[[Path, int], OpenModel],
        file: Path,
        threads: int = 1,
        limits: RunLimits = RunLimits(),  # noqa: B008 - it is frozen
        check: Callable[[Path], None] = lambda _: None,
    ) -> None:
        """Start the process; it opens a file at its first call.

        Args:
            opener: function or class of a module that opens a file for a number of threads.
            file: the file.
            threads: number of threads.
            limits: limits of each call.
            check: raises an error if a file is refused before it is opened.
        """
        self._limits, self._check = limits, check
        self.switch(file)
        place = f"{opener.__module__}:{opener.__name__}"
        command = [sys.executable, "-m", f"{__name__}_process", place, str(threads)]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nothing)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def switch(self, file: Path) -> None:
        """Take another file from the next call on.

        Raises:
            BadInput: if it is refused before it is opened.
        """
        self._check(file)
        self._file, self._size = file, file.stat().st_size

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The outputs (N, ...) for one batch of stored inputs (N, ...).

        Raises:
            BadInput: if the file is not opened or run, or exceeds the limits.
            TryAgain: if the process was killed by others.
        """
        memory = largest_run(inputs.nbytes, self._size, self._limits.memory)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            self._process.kill()

        timer = threading.Timer(self._limits.seconds, expire)
        timer.start()
        try:
            return self._exchange(inputs, memory)
        except EspalierError:
            raise
        except (OSError, ValueError):  # the pipe was closed
            raise self._failure(memory, expired=expired.is_set()) from None
        finally:
            timer.cancel()

    def outputs(self, inputs: NDArray[Any], batch_size: int = 256) -> NDArray[np.float32]:
        """The outputs (N, ...) for stored inputs (N, ...), computed in batches."""
        starts = range(0, len(inputs), batch_size)
        return np.concatenate([self.run(inputs[start : start + batch_size]) for start in starts])

    def _exchange(self, inputs: NDArray[Any], memory: int) -> NDArray[np.float32]:
        assert self._process.stdin and self._process.stdout  # noqa: PT018 - by Popen
        seconds = self._limits.seconds + _SPARE
        send(self._process.stdin, inputs, file=str(self._file), memory=memory, seconds=seconds)
        answer, outputs = receive(self._process.stdout)
        if "memory" in answer:
            raise self._too_large(memory)
        if "reason" in answer:
            raise BadInput(str(answer["reason"]))
        found: NDArray[np.float32] = outputs
        return found

    def _failure(self, memory: int, *, expired: bool) -> Exception:
        status = self._process.wait()
        if expired:
            return BadInput(
                f"Expected {self._file} to compute a batch in at most {self._limits.seconds:g} s; found "
                "that it takes longer. `evaluation.run_seconds` sets the limit."
            )
        if status == -signal.SIGKILL:
            return TryAgain(
                f"Expected the process that runs {self._file} to end by itself; found it killed, as by "
                "a system without free memory."
            )
        if status == -signal.SIGABRT:  # libraries abort where they do not expect to get no memory
            return self._too_large(memory)
        return BadInput(
            f"Expected {self._file} to be run by its runtime; found its process ended with status "
            f"{status}."
        )

    def _too_large(self, memory: int) -> BadInput:
        return BadInput(
            f"Expected {self._file} to run in at most {memory // 2**20:,} MB; found that it needs more. "
            "`evaluation.run_memory` sets the limit in bytes."
        )


def send(pipe: IO[bytes], array: NDArray[Any] | None, **fields: object) -> None:
    """Write a message of some fields and an array to the other process."""
    content = b"" if array is None else np.ascontiguousarray(array).tobytes()
    form = {} if array is None else {"shape": array.shape, "type": array.dtype.str}
    pipe.write(json.dumps({**form, **fields}).encode() + b"\n")
    pipe.write(content)
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], Any]:
    """The fields and the array of a message; ValueError if the pipe was closed."""
    fields: dict[str, Any] = json.loads(pipe.readline(_LONGEST))
    if "type" not in fields:
        return fields, None
    kind = np.dtype(fields["type"])
    count = int(np.prod(fields["shape"], dtype=np.int64))
    content = pipe.read(count * kind.itemsize)
    return fields, np.frombuffer(content, kind).reshape(fields["shape"])
