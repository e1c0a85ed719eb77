"""The layers of a network that can be paired with layers of another, and their output shapes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import BadInput

_MAPPED = 3  # dimensions of an example with channels and two axes of positions
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)  # which are no blocks


@dataclass(frozen=True)
class Layer:
    """A layer whose output is a tensor with a row for each image.

    Attributes:
        name: name in `named_modules`.
        shape: channels, height and width of its output as a map; height and width are 1 if it has
            no positions.
        block: whether it consists of layers.
        crossing: whether it is inside a block (not only a sequence) that ends at another
            resolution.
    """

    name: str
    shape: tuple[int, int, int]
    block: bool
    crossing: bool

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.shape[1:]


def as_map(output: Tensor, image: tuple[int, int]) -> Tensor:
    """The output of a layer as a map (N, C, H, W).

    Args:
        output: (N, C, H, W), (N, H, W, C) as in Swin, tokens (N, L, C) with or without a class token, or (N, C).
        image: height and width of the images; a map has the same proportions.

    Returns:
        The map. A class token is left out, tokens that form no map are averaged, and a vector
        becomes a map of one position.
    """
    if output.ndim == 2:
        return output[:, :, None, None]
    if output.ndim == 3:
        return _from_tokens(output, image)
    first, last = (_proportional(output.shape[start : start + 2], image) for start in (2, 1))
    return output if first or not last else output.permute(0, 3, 1, 2)


def has_positions(shape: Sequence[int]) -> bool:
    """Whether examples of a shape have channels and two axes of positions, as images and clips have."""
    return len(shape) == _MAPPED


def layers(network: nn.Module, example: Tensor) -> list[Layer]:
    """The layers that can be paired, in the order in which they end.

    If several layers return the same output tensor, the outermost counts.

    Layers before the first weight, layers that run more than once, and layers whose output is the
    network's are left out.

    Args:
        network: any network; it is not changed.
        example: inputs (N, C, H, W), N above 1, on the network's device.

    Raises:
        BadInput: if inputs have no positions in two axes.
    """
    recording = _run(network, example)
    if not has_positions(example.shape[1:]):
        raise BadInput(
            "Expected inputs of channels and two axes of positions, as images and clips have, whose "
            f"layers losses can pair; found inputs of the shape {tuple(example.shape[1:])}."
        )
    image = (int(example.shape[2]), int(example.shape[3]))
    modules = dict(network.named_modules())
    outermost: dict[int, Layer] = {}
    final = {id(part) for part in recording.final}
    for name, output in recording.outputs.items():
        if (
            recording.runs[name] > 1
            or id(output) in final
            or not _is_pairable(output, len(example))
        ):
            continue
        former = outermost.pop(id(output), None)
        if former and former.name.count(".") < name.count("."):
            name = former.name
        shape = _shape(output, image)
        around = recording.outputs.get(_enclosing_block(name, modules))
        crossing = False
        if around is not None and _is_pairable(around, len(example)):
            crossing = _shape(around, image)[1:] != shape[1:]
        outermost[id(output)] = Layer(name, shape, any(modules[name].children()), crossing)
    return list(outermost.values())


@dataclass
class _Recording:
    outputs: dict[str, Any] = field(default_factory=dict)  # kept alive, so that ids stay unique
    runs: dict[str, int] = field(default_factory=dict)
    final: list[Any] = field(default_factory=list)
    learns: bool = False


@torch.no_grad()
def _run(network: nn.Module, example: Tensor) -> _Recording:
    recording, handles = _Recording(), []

    def hook(name: str) -> Any:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            recording.learns = recording.learns or any(True for _ in module.parameters())
            recording.runs[name] = recording.runs.get(name, 0) + 1
            if recording.learns:
                recording.outputs[name] = output

        return keep

    modes = {module: module.training for module in network.modules()}
    try:
        handles = [
            module.register_forward_hook(hook(name))
            for name, module in network.named_modules()
            if name
        ]
        recording.final = _parts(network.eval()(example))
        return recording
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


def _parts(outputs: Any) -> list[Any]:
    """The tensors of a network's outputs."""
    if isinstance(outputs, dict):
        return list(outputs.values())
    return list(outputs) if isinstance(outputs, tuple) else [outputs]


def _shape(output: Tensor, image: tuple[int, int]) -> tuple[int, int, int]:
    _, channels, height, width = as_map(output, image).shape
    return channels, height, width


def _is_pairable(output: Any, count: int) -> bool:
    return (
        isinstance(output, Tensor)
        and output.is_floating_point()
        and output.ndim in (2, 3, 4)
        and len(output) == count
    )


def _enclosing_block(name: str, modules: dict[str, nn.Module]) -> str:
    while name := name.rpartition(".")[0]:
        if not isinstance(modules[name], _CONTAINERS):
            return name
    return ""


def _from_tokens(tokens: Tensor, image: tuple[int, int]) -> Tensor:
    for skipped in (0, 1):
        count = tokens.shape[1] - skipped
        height = isqrt(count * image[0] // image[1])
        if height and count % height == 0 and _proportional((height, count // height), image):
            return (
                tokens[:, skipped:]
                .transpose(1, 2)
                .reshape(len(tokens), -1, height, count // height)
            )
    return tokens.mean(1)[:, :, None, None]


def _proportional(size: Any, image: tuple[int, int]) -> bool:
    return bool(size[0] * image[1] == size[1] * image[0])
