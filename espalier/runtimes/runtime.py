"""The interface of runtimes."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from espalier.processors import batch_size_for
from espalier.settings.limits import RUN_BYTES, RUN_SECONDS

_GROWTH = 8  # of the values of an input up to the largest layer: 5 in ResNets, 8 in MobileNetV2
_FEWEST, _MOST = 4, 256


def in_batches(
    run: Callable[[NDArray[Any]], NDArray[np.float32]], inputs: NDArray[Any], batch_size: int | None
) -> NDArray[np.float32]:
    """The outputs (N, ...) for stored inputs (N, ...), computed in batches.

    Args:
        run: computes one batch.
        inputs: stored inputs.
        batch_size: examples of a batch; None for `suitable_batch_size`.
    """
    size = batch_size or suitable_batch_size(inputs)
    return np.concatenate(
        [run(inputs[start : start + size]) for start in range(0, len(inputs), size)]
    )


def suitable_batch_size(inputs: NDArray[Any]) -> int:
    """A power of two from 4 to 256, by the values of an input (N, ...): files name no shape of a layer.

    Example:
        An image of 3 x 224 x 224 makes layers of about 5 MB: 4 images at a time. In batches of 256, a
        single layer would take more than a gigabyte.
    """
    return batch_size_for(4 * _GROWTH * math.prod(inputs.shape[1:]), _FEWEST, _MOST)


class OpenModel(Protocol):
    """A deployed file that is open."""

    def run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The outputs (N, ...) for one batch of stored inputs (N, ...)."""

    def outputs(self, inputs: NDArray[Any], batch_size: int | None = None) -> NDArray[np.float32]:
        """The outputs (N, ...) for stored inputs (N, ...), as `in_batches` computes them."""

    def tensors(self, inputs: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Some outputs of the file, by name, for one batch of stored inputs (N, ...)."""


@dataclass(frozen=True)
class RunLimits:
    """Limits on a call of a deployed file for one batch.

    Attributes:
        memory: bytes that every file may take; large inputs and files may take more.
        seconds: largest time of a call, and of opening the file.
    """

    memory: int = RUN_BYTES
    seconds: float = RUN_SECONDS


class GuardedModel(Protocol):
    """Deployed files that another process opens one after another; a context, at whose end the process ends."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def switch(self, file: Path) -> None:
        """Take another file from the next call on; BadInput if it is refused before it is opened."""

    def run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The outputs (N, ...) for one batch of stored inputs (N, ...)."""

    def outputs(self, inputs: NDArray[Any], batch_size: int | None = None) -> NDArray[np.float32]:
        """The outputs (N, ...) for stored inputs (N, ...), as `in_batches` computes them."""


class Runtime(Protocol):
    """A program that executes deployed files.

    Attributes:
        name: its name in `params.yaml` and in reports.
        provider: its name for the processor, or another unit, on which it executes files.
        integer_forms: schemes of quantization that it executes with integer kernels.
    """

    name: str
    provider: str
    integer_forms: frozenset[str]

    @property
    def version(self) -> str:
        """The version that is installed."""

    def open(self, file: Path | bytes, threads: int = 1) -> OpenModel:
        """Open a deployed file, or its content, to be run on a number of threads."""

    def open_guarded(
        self, file: Path, threads: int = 1, limits: RunLimits | None = None
    ) -> GuardedModel:
        """Open a file from elsewhere in a process with limits on its memory and time.

        Args:
            file: the file.
            threads: number of threads.
            limits: limits of each call; None for the default.

        Raises:
            BadInput: if it is refused before it is opened.
        """

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
