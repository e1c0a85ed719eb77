"""Which layers of a network can be paired with those of another, and the shape of what they put out."""

from dataclasses import dataclass, field
from math import isqrt
from typing import Any

import torch
from torch import Tensor, nn

_KEEPS_ORDER = (
    nn.Sequential,
    nn.ModuleList,
    nn.ModuleDict,
)  # what is in them is not inside a block


@dataclass(frozen=True)
class Layer:
    """A layer whose output is a tensor with a row per image.

    Attributes:
        name: As in `named_modules`.
        shape: Channels, height and width of its output, seen as a map; 1 and 1 where it has no
            places.
        block: Whether it consists of layers.
        crossing: Whether it is inside a block (not a mere sequence) that ends at another
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
    """What a layer put out as a map (N, C, H, W).

    Args:
        output: (N, C, H, W), (N, H, W, C) as in Swin, tokens (N, L, C) with or without a class token, or (N, C).
        image: Height and width of the images, whose proportions a map has.

    Returns:
        The map; the class token is left out, tokens that make no map are averaged, and a vector is a map of one place.
    """
    if output.ndim == 2:
        return output[:, :, None, None]
    if output.ndim == 3:
        return _from_tokens(output, image)
    first, last = (_proportional(output.shape[start : start + 2], image) for start in (2, 1))
    return output if first or not last else output.permute(0, 3, 1, 2)


def layers(network: nn.Module, example: Tensor) -> list[Layer]:
    """The layers that can be paired, in the order in which they end; of those that put out one tensor, the outermost.

    Left out are layers before any weight, layers that run more than once, and those that put out the answer itself.

    Args:
        network: Any classifier; it is left as it is.
        example: Images (N, C, H, W), N above 1, on the network's device.
    """
    seen = _run(network, example)
    image = (int(example.shape[2]), int(example.shape[3]))
    modules = dict(network.named_modules())
    outermost: dict[int, Layer] = {}
    answers = {id(part) for part in seen.answers}
    for name, output in seen.outputs.items():
        if seen.runs[name] > 1 or id(output) in answers or not _is_pairable(output, len(example)):
            continue
        former = outermost.pop(id(output), None)
        if former and former.name.count(".") < name.count("."):
            name = former.name
        shape = _shape(output, image)
        around = seen.outputs.get(_around(name, modules))
        crossing = (
            around is not None
            and _is_pairable(around, len(example))
            and _shape(around, image)[1:] != shape[1:]
        )
        outermost[id(output)] = Layer(name, shape, any(modules[name].children()), crossing)
    return list(outermost.values())


@dataclass
class _Seen:
    outputs: dict[str, Any] = field(default_factory=dict)  # all alive, so that no two have one id
    runs: dict[str, int] = field(default_factory=dict)
    answers: list[Any] = field(default_factory=list)
    learns: bool = False


@torch.no_grad()
def _run(network: nn.Module, example: Tensor) -> _Seen:
    seen, handles = _Seen(), []

    def hook(name: str) -> Any:
        def keep(module: nn.Module, given: Any, output: Any) -> None:
            seen.learns = seen.learns or any(True for _ in module.parameters())
            seen.runs[name] = seen.runs.get(name, 0) + 1
            if seen.learns:
                seen.outputs[name] = output

        return keep

    modes = {module: module.training for module in network.modules()}
    try:
        handles = [
            module.register_forward_hook(hook(name))
            for name, module in network.named_modules()
            if name
        ]
        answer = network.eval()(example)
        parts = (
            answer.values()
            if isinstance(answer, dict)
            else answer
            if isinstance(answer, tuple)
            else (answer,)
        )
        seen.answers = list(parts)
        return seen
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training


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


def _around(name: str, modules: dict[str, nn.Module]) -> str:
    while name := name.rpartition(".")[0]:
        if not isinstance(modules[name], _KEEPS_ORDER):
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
