"""The interface of runtimes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class OpenModel(Protocol):
    """A deployed file that is open."""

    def run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The outputs (N, ...) for one batch of stored inputs (N, ...)."""

    def outputs(self, inputs: NDArray[Any], batch_size: int = 256) -> NDArray[np.float32]:
        """The outputs (N, ...) for stored inputs (N, ...), computed in batches."""

    def tensors(self, inputs: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Some outputs of the file, by name, for one batch of stored inputs (N, ...)."""


class Runtime(Protocol):
    """A program that executes deployed files.

    Attributes:
        name: its name in `params.yaml` and in reports.
        integer_forms: schemes of quantization that it executes with integer kernels.
    """

    name: str
    integer_forms: frozenset[str]

    @property
    def version(self) -> str:
        """The version that is installed."""

    def open(self, file: Path | bytes, threads: int = 1) -> OpenModel:
        """Open a deployed file, or its content, to be run on a number of threads."""

    def profile_layers(
        self, model: bytes, inputs: Mapping[str, NDArray[Any]], calls: int
    ) -> dict[str, list[float]]:
        """The microseconds that each node takes in each call, on one thread.

        Args:
            model: content of a file.
            inputs: values of its inputs, by name.
            calls: number of calls.

        Returns:
            The times by the name of the node, in the order of the calls.
        """

    def peak_memory(
        self, paths: Sequence[Path], example: NDArray[Any], batches: Sequence[int], threads: int
    ) -> NDArray[np.float64]:
        """The memory that deployed files take while they run.

        Args:
            paths: the files.
            example: one stored input (...), for its shape and type.
            batches: sizes of the batches that are run one after the other; a peak includes those
                before it.
            threads: number of threads.

        Returns:
            Peaks in bytes (files, batches); NaN where the system does not report them.
        """
