"""Files from elsewhere run in a process of their own, with limits on its memory and time.

A few hundred bytes of ONNX can ask for gigabytes, or compute for hours. In that process the kernel
refuses the memory (`RLIMIT_DATA`, Linux), and the process is killed when its time is over.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from espalier.errors import BadInput, TryAgain
from espalier.limited import LimitedProcess, Limits, ProcessFailed
from espalier.runtimes.runtime import OpenModel, RunLimits, in_batches
from espalier.settings.limits import largest_run

_OPENED = f"{__package__}.opened:OpenedFile"


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
        self._process = LimitedProcess(_OPENED, place, str(threads))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def switch(self, file: Path) -> None:
        """Take another file from the next call on.

        Raises:
            BadInput: if it is refused before it is opened.
        """
        self._check(file)
        self._file, self._size = file, file.stat().st_size

    def close(self) -> None:
        """End the process."""
        self._process.close()

    def run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The outputs (N, ...) for one batch of stored inputs (N, ...).

        Raises:
            BadInput: if the file is not opened or run, or exceeds the limits.
            TryAgain: if the process was killed by others.
        """
        memory = largest_run(inputs.nbytes, self._size, self._limits.memory)
        try:
            self._process.send(Limits(memory, self._limits.seconds), inputs, file=str(self._file))
            _, outputs = self._process.receive()
        except ProcessFailed as failure:
            raise self._explained(failure, memory) from None
        return outputs

    def outputs(self, inputs: NDArray[Any], batch_size: int | None = None) -> NDArray[np.float32]:
        """The outputs (N, ...) for stored inputs (N, ...), as `in_batches` computes them."""
        return in_batches(self.run, inputs, batch_size)

    def _explained(self, failure: ProcessFailed, memory: int) -> Exception:
        if failure.cause == "memory":
            return self._too_large(memory)
        if failure.cause == "seconds":
            return BadInput(
                f"Expected {self._file} to compute a batch in at most {self._limits.seconds:g} s; found "
                "that it takes longer. `evaluation.run_seconds` sets the limit."
            )
        if failure.cause == "killed":
            return TryAgain(
                f"Expected the process that runs {self._file} to end by itself; found it killed, as by "
                "a system without free memory."
            )
        return BadInput(
            f"Expected {self._file} to be run by its runtime; found its process ended with "
            f"{failure.ending}."
        )

    def _too_large(self, memory: int) -> BadInput:
        return BadInput(
            f"Expected {self._file} to run in at most {memory // 2**20:,} MB; found that it needs more. "
            "`evaluation.run_memory` sets the limit in bytes."
        )
