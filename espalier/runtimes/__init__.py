"""Runtimes: programs that execute deployed files.

Whatever opens, times or profiles a deployed file does it through a row of `RUNTIMES`.
"""

from espalier.errors import row_named
from espalier.runtimes.onnx_runtime import OnnxRuntime
from espalier.runtimes.runtime import GuardedModel, OpenModel, RunLimits, Runtime

RUNTIMES: dict[str, Runtime] = {"onnxruntime": OnnxRuntime()}
DEFAULT = RUNTIMES["onnxruntime"]


def runtime_named(name: str) -> Runtime:
    """The runtime of a name.

    Raises:
        BadInput: if there is none.
    """
    return row_named(RUNTIMES, name, "a runtime")


__all__ = [
    "DEFAULT",
    "RUNTIMES",
    "GuardedModel",
    "OpenModel",
    "RunLimits",
    "Runtime",
    "runtime_named",
]
