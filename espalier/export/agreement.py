"""The agreement of a network with an ONNX file of others that it was rebuilt from."""

from pathlib import Path

import torch
from torch import Tensor, nn

from espalier.errors import BadInput, EspalierError, reason_of
from espalier.export.onnx import AGREEMENT, relative_difference
from espalier.models.onnx_import import OnnxProgram
from espalier.runtimes import DEFAULT, Runtime


def check_agreement(
    network: nn.Module,
    program: OnnxProgram,
    path: Path,
    inputs: Tensor,
    runtime: Runtime = DEFAULT,
) -> float:
    """Compare a network with its file on real inputs.

    Args:
        network: network of the file, on the processor, in evaluation mode.
        program: content of the file.
        path: the file.
        inputs: inputs (N, ...) as the network sees them, on the processor.
        runtime: runtime that executes the file.

    Returns:
        The largest difference between the outputs of the two, relative to the largest output where that is above 1.

    Raises:
        BadInput: if it is above 1e-4, or the runtime does not execute the file.
    """
    batch = program.batch or len(inputs)
    whole = inputs[: max(1, len(inputs) // batch) * batch]
    if len(whole) < batch:  # a file for more examples than there are
        whole = whole.repeat(-(-batch // len(whole)), *[1] * (whole.ndim - 1))[:batch]
    with torch.no_grad():
        ours = program.file_outputs(network(whole)).numpy()
    try:
        with runtime.open_guarded(path) as model:
            theirs = model.outputs(program.file_inputs(whole).numpy(), batch_size=batch)
    except EspalierError:
        raise
    except Exception as error:  # a runtime raises its own errors at files that it does not know
        raise BadInput(
            f"Expected {path} to be executed by {runtime.name}; found: {reason_of(error)}."
        ) from None
    difference = relative_difference(ours, theirs)
    if not difference <= AGREEMENT:
        raise BadInput(
            f"Expected the network that is rebuilt from {path} to agree with the file to {AGREEMENT}; "
            f"found a difference of {difference:.2g}: an operator of the file has a meaning that "
            "torch has not. Export it with another operator set, or import its weights with `model`."
        )
    return difference
