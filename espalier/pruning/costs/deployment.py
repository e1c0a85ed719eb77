"""Measures of a network as its deployed file: bytes, and milliseconds in the runtime."""

import copy
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.export.onnx import Names, export
from espalier.inputs.image import Normalize
from espalier.measures.comparison import Comparison, compare_latency
from espalier.measures.sittings import Run
from espalier.models.graph import Example
from espalier.runtimes import DEFAULT


def one_tensor(example: Example) -> Tensor:
    """The input of a network that has one.

    Raises:
        BadInput: if there are several inputs.
    """
    if isinstance(example, Tensor):
        return example
    if len(example) == 1:
        return example[0]
    raise BadInput(f"Expected one input of a network to be exported; found {len(example)}.")


@dataclass(frozen=True)
class Deployment:
    """The surroundings of a network in its deployed file, which count as the network does.

    Attributes:
        inputs: two inputs (2, ...) as the file takes them, on the processor.
        front: module between them and the network.
        readout: module after the network; None for none.
        names: names of the input and the output.
    """

    inputs: Tensor
    front: nn.Module
    readout: nn.Module | None = None
    names: Names = field(default_factory=Names)

    @classmethod
    def usual(cls, example: Example) -> Self:
        """The deployment of a network whose data are not known.

        Images (N, C, H, W) are stored as bytes, and a plain normalisation comes before the network.
        A file of any other kind of input takes it as the network sees it.

        Args:
            example: inputs as the network sees them.

        Raises:
            BadInput: if there are several inputs.
        """
        seen = one_tensor(example)
        if not seen.is_floating_point():
            return cls(seen[:2].cpu(), nn.Identity())
        if seen.ndim != 4:
            return cls(seen[:2].cpu().float(), nn.Identity())
        channels = seen.shape[1]
        shape = (2, *seen.shape[1:])
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator())
        return cls(pixels, Normalize((0.5,) * channels, (0.25,) * channels))


def file_bytes(network: nn.Module, deployment: Deployment) -> int:
    """The size of the float32 file of a network.

    Args:
        network: any network that can be exported; it is not changed.
        deployment: its surroundings in the file.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _write(network, deployment, Path(folder) / "network.onnx").stat().st_size


def compare_network_latency(
    parent: nn.Module, child: nn.Module, deployment: Deployment
) -> Comparison:
    """Time two networks in turn in the runtime, on one thread, at batch 1.

    Args:
        parent: a network; it is not changed.
        child: another network, or the same one; it is not changed.
        deployment: their surroundings in the files.
    """
    stored = torch.zeros_like(deployment.inputs[:1]).numpy()
    with tempfile.TemporaryDirectory() as folder:
        first = _write(parent, deployment, Path(folder) / "parent.onnx")
        second = first
        if child is not parent:
            second = _write(child, deployment, Path(folder) / "child.onnx")

        def opened() -> dict[str, Run]:
            return {"parent": DEFAULT.open(first).run, "child": DEFAULT.open(second).run}

        comparison = compare_latency(opened, stored, patient=True)
    assert comparison is not None
    return comparison


def _write(network: nn.Module, deployment: Deployment, path: Path) -> Path:
    """Export a network in its surroundings."""
    export(
        copy.deepcopy(network).float(),
        path,
        deployment.inputs,
        deployment.front,
        readout=deployment.readout,
        names=deployment.names,
    )
    return path
