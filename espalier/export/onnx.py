"""Export of a network with its front: the file takes stored inputs, so callers cannot normalise them wrongly."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from espalier.errors import BadInput, EspalierError, reason_of
from espalier.export.denormals import flush_denormals
from espalier.export.front import lift_front
from espalier.runtimes import DEFAULT, Runtime

INPUT, OUTPUT = "image", "logits"
_OPSET = 17  # the newest that torch's own exporter writes without converting
_AGREEMENT = 1e-4


class Deployed(nn.Module):
    """A network behind its front: stored inputs (N, ...) to outputs (N, ...)."""

    def __init__(self, network: nn.Module, front: nn.Module) -> None:
        super().__init__()
        self.front = front  # before the network, which fixes the order of tensors in the file
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Map stored inputs to outputs."""
        logits: Tensor = self.network(self.front(image))
        return logits


class Disagreement(EspalierError):
    """The exported file does not compute what the network does: a defect of the export."""


def export(
    network: nn.Module, path: Path, images: Tensor, front: nn.Module, runtime: Runtime = DEFAULT
) -> float:
    """Write a network as ONNX, and check that it gives the same logits.

    Args:
        network: A classifier.
        path: file to write.
        images: Real images (N, C, H, W) uint8 on the processor, on which both are compared.
        front: module between stored inputs and the network; it is not changed.
        runtime: runtime whose outputs are compared.

    Returns:
        The largest difference between the logits of the two, relative to the largest logit where that is above 1.

    Raises:
        Disagreement: If that is above 1e-4.
    """
    deployed = write(network, path, images, front)
    with torch.no_grad():
        ours = deployed(images).numpy()
    difference = relative_difference(ours, runtime.open(path).outputs(images.numpy()))
    if not difference <= _AGREEMENT:
        raise Disagreement(
            f"Expected the exported file to agree with the network to {_AGREEMENT}; found a "
            f"difference of {difference:.2g}."
        )
    return difference


def write(network: nn.Module, path: Path, images: Tensor, front: nn.Module) -> Deployed:
    """Write a network as ONNX, with the arguments of `export`, without comparing; returns what was written."""
    deployed = Deployed(network, copy.deepcopy(front)).cpu().eval()
    _refuse_several_outputs(deployed, images)
    with warnings.catch_warnings(), _explained():
        # dynamo=False: a sixth of the time, and the same outputs; torch warns that it will be the
        # old way one day
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            deployed,
            (images[:2],),
            str(path),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    lift_front(path)
    flush_denormals(path)
    return deployed


def _refuse_several_outputs(deployed: Deployed, images: Tensor) -> None:
    with torch.no_grad():
        outputs = deployed(images[:2])
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
