"""Measures of a network as its deployed file: bytes, and milliseconds in the runtime."""

import copy
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.export.onnx import export
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


def file_bytes(network: nn.Module, example: Tensor) -> int:
    """The size of the float32 file of a network.

    Args:
        network: any network that can be exported; it is not changed.
        example: inputs (N, C, H, W) as the network sees them.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _write(network, example, Path(folder) / "network.onnx").stat().st_size


def compare_network_latency(parent: nn.Module, child: nn.Module, example: Tensor) -> Comparison:
    """Time two networks in turn in the runtime, on one thread, at batch 1.

    Args:
        parent: a network; it is not changed.
        child: another network, or the same one; it is not changed.
        example: inputs (N, C, H, W) as the networks see them.
    """
    stored = torch.zeros(1, *example.shape[1:], dtype=torch.uint8).numpy()
    with tempfile.TemporaryDirectory() as folder:
        first = _write(parent, example, Path(folder) / "parent.onnx")
        second = first
        if child is not parent:
            second = _write(child, example, Path(folder) / "child.onnx")

        def opened() -> dict[str, Run]:
            return {"parent": DEFAULT.open(first).run, "child": DEFAULT.open(second).run}

        comparison = compare_latency(opened, stored, patient=True)
    assert comparison is not None
    return comparison


def _write(network: nn.Module, example: Tensor, path: Path) -> Path:
    """Export a network behind a plain normalisation."""
    channels = example.shape[1]
    shape = (2, *example.shape[1:])
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator())
    front = Normalize((0.5,) * channels, (0.25,) * channels)
    export(copy.deepcopy(network).float(), path, pixels, front)
    return path
