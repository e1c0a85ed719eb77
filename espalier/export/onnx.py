"""Export of a network with its front: the file takes stored inputs, so callers cannot normalise them wrongly."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import BadInput, EspalierError, reason_of
from espalier.export.denormals import flush_denormals
from espalier.export.exported import Exported
from espalier.export.front import lift_front
from espalier.models.graph import evaluating
from espalier.runtimes import DEFAULT, Runtime

_OPSET = 17  # the newest that torch's own exporter writes without converting
AGREEMENT = 1e-4


@dataclass(frozen=True)
class Names:
    """The names of the input and of the output of a deployed file."""

    input: str = "image"
    output: str = "logits"


class Deployed(nn.Module):
    """A network between its front and its readout: stored inputs (N, ...) to outputs (N, ...)."""

    def __init__(
        self, network: nn.Module, front: nn.Module, readout: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.front = front  # before the network, which fixes the order of tensors in the file
        self.network = network
        self.readout = readout

    def forward(self, image: Tensor) -> Tensor:
        """Map stored inputs to outputs."""
        outputs: Tensor = self.network(self.front(image))
        return outputs if self.readout is None else self.readout(outputs)


class Disagreement(EspalierError):
    """The exported file does not compute what the network does: a defect of the export."""


def export(
    network: nn.Module,
    path: Path,
    inputs: Tensor,
    front: nn.Module,
    runtime: Runtime = DEFAULT,
    *,
    readout: nn.Module | None = None,
    names: Names = Names(),
) -> float:
    """Write a network as ONNX, and check that it gives the same outputs.

    Args:
        network: network with one output; it is not changed.
        path: file to write.
        inputs: real stored inputs (N, ...) on the processor, on which both are compared.
        front: module between stored inputs and the network; it is not changed.
        runtime: runtime whose outputs are compared.
        readout: module after the network; None for none.
        names: names of the input and the output in the file.

    Returns:
        The largest difference between the outputs of the two, relative to the largest output where that is above 1.

    Raises:
        Disagreement: If that is above 1e-4.
    """
    with _restored(network):
        deployed = write(
            network,
            path,
            inputs,
            front,
            readout=readout,
            names=names,
        )
        with torch.no_grad():
            ours = deployed(inputs).numpy()
    difference = relative_difference(ours, runtime.open(path).outputs(inputs.numpy()))
    if not difference <= AGREEMENT:
        raise Disagreement(
            f"Expected the exported file to agree with the network to {AGREEMENT}; found a "
            f"difference of {difference:.2g}."
        )
    return difference


@contextmanager
def _restored(network: nn.Module) -> Iterator[None]:
    """The network in the modes and on the device of before, after the block."""
    devices = {parameter.device for parameter in network.parameters()}
    try:
        with evaluating(network):
            yield
    finally:
        if len(devices) == 1:
            network.to(devices.pop())


def write(
    network: nn.Module,
    path: Path,
    inputs: Tensor,
    front: nn.Module,
    *,
    readout: nn.Module | None = None,
    names: Names = Names(),
) -> Deployed:
    """Write a network as ONNX, with the arguments of `export`, without comparing; returns what was written.

    The network is in evaluation mode and on the processor afterwards.
    """
    deployed = Deployed(network, copy.deepcopy(front), readout).cpu().eval()
    _refuse_several_outputs(deployed, inputs)
    with warnings.catch_warnings(), _explained():
        # dynamo=False: a sixth of the time, and the same outputs; torch warns that it will be the
        # old way one day
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        exported = Exported.of(
            deployed,
            (inputs[:2],),
            input_names=[names.input],
            output_names=[names.output],
            dynamic_axes={names.input: {0: "batch"}, names.output: {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    lift_front(exported.model)
    flush_denormals(exported)
    exported.save(path)
    return deployed


def _refuse_several_outputs(deployed: Deployed, inputs: Tensor) -> None:
    with torch.no_grad():
        outputs = deployed(inputs[:2])
    if not isinstance(outputs, Tensor):
        raise BadInput(
            "Expected a network that returns one tensor, to be deployed; found a "
            f"{type(outputs).__name__}: deploy a module that returns one of them."
        )


@contextmanager
def _explained() -> Iterator[None]:
    """Turn errors of torch's exporter into a sentence.

    Raises:
        BadInput: for any error inside the block.
    """
    try:
        yield
    except Exception as error:  # the exporter raises nearly anything at what it does not know
        raise BadInput(
            f"Expected a network that torch can export to ONNX; found: {reason_of(error)}. Replace "
            "that operation or layer in its forward pass."
        ) from error


def relative_difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest difference of two arrays over the largest value, or over 1 if all values are smaller."""
    return float(np.abs(one - other).max() / max(1.0, float(np.abs(one).max())))
