"""What a network is as the file that is deployed: its bytes, and its milliseconds in the runtime."""

import copy
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from espalier.errors import BadInput
from espalier.export.onnx import export
from espalier.measures.comparison import Comparison, compare_latency
from espalier.measures.sittings import Run
from espalier.pruning.trace import Example
from espalier.runtimes.onnx_runtime import Runtime


def one_image(example: Example) -> Tensor:
    """What a deployed network is fed with.

    Raises:
        BadInput: If there are several inputs.
    """
    if not isinstance(example, Tensor):
        raise BadInput(
            f"What is exported should have one input, an image. Found {len(example)} inputs."
        )
    return example


def file_bytes(network: nn.Module, example: Tensor) -> int:
    """The size of the float32 file of a network.

    Args:
        network: Any that can be exported; it is left as it is.
        example: Images (N, C, H, W) as it sees them.
    """
    with tempfile.TemporaryDirectory() as folder:
        return _write(network, example, Path(folder) / "network.onnx").stat().st_size


def race(parent: nn.Module, child: nn.Module, example: Tensor) -> Comparison:
    """Time two networks side by side in the runtime, on one thread, at batch 1.

    Args:
        parent: The one; it is left as it is.
        child: The other, likewise.
        example: Images (N, C, H, W) as they see them.
    """
    pixels = torch.zeros(1, *example.shape[1:], dtype=torch.uint8).numpy()
    with tempfile.TemporaryDirectory() as folder:
        ours = _write(parent, example, Path(folder) / "parent.onnx")
        theirs = (
            _write(child, example, Path(folder) / "child.onnx") if child is not parent else ours
        )

        def opened() -> dict[str, Run]:
            return {"parent": Runtime(ours).run, "child": Runtime(theirs).run}

        found = compare_latency(opened, pixels, patient=True)
    assert found is not None
    return found


def _write(network: nn.Module, example: Tensor, path: Path) -> Path:
    channels = example.shape[1]
    pixels = torch.randint(
        0, 256, (2, *example.shape[1:]), dtype=torch.uint8, generator=torch.Generator()
    )
    export(copy.deepcopy(network).float(), path, pixels, (0.5,) * channels, (0.25,) * channels)
    return path
