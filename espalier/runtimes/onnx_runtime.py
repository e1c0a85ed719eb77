"""ONNX Runtime on the CPU."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from espalier.errors import BadInput, reason_of
from espalier.onnx_files import load_onnx
from espalier.reading import refuse_special
from espalier.runtimes.guarded import Guarded
from espalier.runtimes.memory import peak_memory
from espalier.runtimes.runtime import RunLimits, in_batches

onnxruntime.set_default_logger_severity(3)  # its warnings are about graphs, not for users

_NO_MEMORY = ("bad_alloc", "allocate memory", "Failed to allocate")  # words of its errors of memory
_PROVIDER = "CPUExecutionProvider"
_KERNEL = "_kernel_time"  # suffix of the profiler's events that time a node


class OnnxRuntime:
    """ONNX Runtime with its CPU provider."""

    name = "onnxruntime"
    provider = _PROVIDER
    integer_forms = frozenset({"static", "dynamic", "aware"})

    @property
    def version(self) -> str:
        """The version that is installed."""
        version: str = onnxruntime.__version__
        return version

    def open(self, file: Path | bytes, threads: int = 1) -> "Session":
        """Open a deployed file, or its content, to be run on a number of threads."""
        return Session(file, threads)

    def open_guarded(
        self, file: Path, threads: int = 1, limits: RunLimits | None = None
    ) -> Guarded:
        """Open a file from elsewhere in a process with limits on its memory and time.

        Raises:
            BadInput: if it is no ONNX file, or has an operator that can run without end.
        """
        return Guarded(Session, file, threads, limits or RunLimits(), check=_refuse_unread)

    def profile_layers(
        self, model: bytes, inputs: Mapping[str, NDArray[Any]], calls: int
    ) -> dict[str, list[float]]:
        """The microseconds that each node takes in each call, by its name; the profiler truncates."""
        options = _options(threads=1)
        options.enable_profiling = True
        with tempfile.TemporaryDirectory() as folder:
            options.profile_file_prefix = str(Path(folder) / "profile")
            session = _session(model, options)
            for _ in range(calls):
                session.run(None, dict(inputs))
            events = json.loads(Path(session.end_profiling()).read_text())
        times: dict[str, list[float]] = defaultdict(list)
        for event in events:
            if event["cat"] == "Node" and event["name"].endswith(_KERNEL):
                times[event["name"].removesuffix(_KERNEL)].append(event["dur"])
        return times

    def peak_memory(
        self, paths: Sequence[Path], example: NDArray[Any], batches: Sequence[int], threads: int
    ) -> NDArray[np.float64]:
        """The peaks in bytes (files, batches); see `espalier.runtimes.memory`."""
        return peak_memory(Session, paths, example, batches, threads)


def _refuse_unread(file: Path) -> None:
    """Refuse a file for its content, before ONNX Runtime opens it."""
    load_onnx(file, external=True)


class Session:
    """A deployed file that ONNX Runtime has opened."""

    def __init__(self, file: Path | bytes, threads: int = 1) -> None:
        """Open a file.

        Raises:
            BadInput: if ONNX Runtime does not open it, or it takes no input.
        """
        self._name = "the content of an ONNX file" if isinstance(file, bytes) else str(file)
        if isinstance(file, Path):
            refuse_special(file, "an ONNX file")
        model = file if isinstance(file, bytes) else str(file)
        with self._naming("opens"):
            self._session = _session(model, _options(threads))
            self._input = self._session.get_inputs()[0].name

    def run(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The outputs (N, ...) for one batch of stored inputs (N, ...).

        Raises:
            BadInput: if they are not computed.
        """
        with self._naming("executes"):
            outputs: NDArray[np.float32] = self._session.run(None, {self._input: inputs})[0]
        return outputs

    def outputs(self, inputs: NDArray[Any], batch_size: int | None = None) -> NDArray[np.float32]:
        """The outputs (N, ...) for stored inputs (N, ...), as `in_batches` computes them."""
        return in_batches(self.run, inputs, batch_size)

    def tensors(self, inputs: NDArray[Any], names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Some outputs of the file, by name, for one batch of stored inputs (N, ...).

        Raises:
            BadInput: if they are not computed.
        """
        with self._naming("executes"):
            values = self._session.run(list(names), {self._input: inputs})
        return dict(zip(names, values, strict=True))

    @contextmanager
    def _naming(self, does: str) -> Iterator[None]:
        """Name the file in errors of the runtime, which are of any kind; errors of memory pass."""
        try:
            yield
        except Exception as error:
            if any(words in str(error) for words in _NO_MEMORY):
                raise MemoryError(reason_of(error)) from None
            raise BadInput(
                f"Expected {self._name} to be a file that ONNX Runtime {does}; found: "
                f"{reason_of(error)}."
            ) from None


def _options(threads: int) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # threads that spin take time from other processes
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return options


def _session(
    model: str | bytes, options: onnxruntime.SessionOptions
) -> onnxruntime.InferenceSession:
    # the fallback tries the same once more, and prints that it does
    return onnxruntime.InferenceSession(model, options, providers=[_PROVIDER], enable_fallback=0)
