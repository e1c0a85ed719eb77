"""ONNX Runtime on the processor: what executes a deployed file here."""

from pathlib import Path

import numpy as np
import onnxruntime

onnxruntime.set_default_logger_severity(3)  # its warnings speak of graphs, not to users


def _session(model: str | bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry(
        "session.intra_op.allow_spinning", "0"
    )  # threads that spin starve neighbours
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Runtime:
    """A deployed file, ready to run."""

    def __init__(self, file: Path | bytes, threads: int = 1) -> None:
        """Load a file, or its content, to be run by so many threads."""
        self._session = _session(file if isinstance(file, bytes) else str(file), threads)
        self._input = self._session.get_inputs()[0].name

    def run(self, images: np.ndarray) -> np.ndarray:
        """The logits (N, classes) float32 of images (N, C, H, W) uint8."""
        logits: np.ndarray = self._session.run(None, {self._input: images})[0]
        return logits

    def logits(self, images: np.ndarray, batch_size: int = 256) -> np.ndarray:
        """Likewise, in batches."""
        starts = range(0, len(images), batch_size)
        return np.concatenate([self.run(images[start : start + batch_size]) for start in starts])


class Outputs:
    """Several named tensors of a model in memory."""

    def __init__(self, model: bytes, names: list[str]) -> None:
        """Load a serialized model, of which these outputs are wanted."""
        self._session = _session(model, threads=1)
        self._names = names
        self._input = self._session.get_inputs()[0].name

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """The wanted tensors for images (N, C, H, W) uint8, by name."""
        return dict(
            zip(self._names, self._session.run(self._names, {self._input: images}), strict=True)
        )
