"""The calls that a network makes of torch's functions, and after which of them its values become integers.

A network is run under a mode that sees each call, so it need not be traced, taken apart, or written in any special way.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_MULTIPLYING = ("conv1d", "conv2d", "linear")
_OPERANDS = ("input", "weight", "bias")  # of these, in their order
_JOINING = ("add", "add_", "mul", "mul_", "cat", "concat")
_RECTIFYING = ("relu", "relu_", "relu6", "hardtanh", "hardtanh_")
_MOVING: tuple[str, ...] = (
    "max_pool2d",
    "flatten",
    "reshape",
    "view",
    "permute",
    "transpose",
    "squeeze",
)
_MOVING += ("unsqueeze", "dropout", "contiguous", "chunk", "split", "__getitem__")

IMAGE = -1  # the number of the call that gave the network's input


@dataclass(frozen=True)
class Plan:
    """The integer values and weights of a network.

    Attributes:
        values: numbers of the calls whose results become integers, with the name of the function, the
            number of values for one example, and the largest possible value.
        weights: numbers of the calls that multiply by a weight that becomes integer, with its name.
        moved: numbers of the calls that only move such values, with the call that returned them.
    """

    values: dict[int, tuple[str, float, float]]
    weights: dict[int, str]
    moved: dict[int, int]


@dataclass(eq=False)
class _Value:
    call: int
    name: str
    size: float
    most: float = math.inf
    joined: bool = False  # made by a call whose integer kernel gives integers
    users: list[str] = field(default_factory=list)

    def becomes_integers(self) -> bool:
        """Whether ONNX Runtime fuses it into an integer kernel.

        Kernels multiply or join; a rectifier belongs to the kernel before it.
        """
        if self.joined and self.users and all(user in _RECTIFYING for user in self.users):
            return False
        return self.joined or any(user in (*_MULTIPLYING, *_JOINING) for user in self.users)


def plan(network: nn.Module, example: Tensor) -> Plan:
    """Watch a network answer an example (N, C, H, W) in evaluation mode, and decide what becomes integers.

    The inputs of convolutions, linear layers, additions, products and concatenations become integers, and what these
    give, after a rectifier where one follows. The network's answers stay as they are.
    """
    with torch.no_grad(), _Recorder(network, example) as recorder:
        answers = network(example)
    given = {
        id(recorder.values[id(one)]) for one in _tensors([answers]) if id(one) in recorder.values
    }
    integers = [
        value for value in recorder.recorded if value.becomes_integers() and id(value) not in given
    ]
    values = {value.call: (value.name, value.size, value.most) for value in integers}
    moved = {number: value.call for number, value in recorder.moved.items() if value.call in values}
    return Plan(values, recorder.weights, moved)


class Intercepted(TorchFunctionMode):
    """Replaces the results and weights of numbered calls by functions of them, while it is entered."""

    def __init__(
        self, value: Callable[[int, str, Tensor], Tensor], weight: Callable[[int, Tensor], Tensor]
    ) -> None:
        """Replace results by `value(number, name, result)`, and weights by `weight(number, weight)`."""
        super().__init__()
        self._value, self._weight, self._number = value, weight, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        args, kwargs = _by_position(name, args, kwargs or {})
        if name in _MULTIPLYING and len(args) > 1:
            args = (args[0], self._weight(self._number, args[1]), *args[2:])
        result = func(*args, **kwargs)
        if not _counts(result):
            return result
        self._number += 1
        if isinstance(result, Tensor):
            return self._value(self._number - 1, name, result)
        # torch's attention gives its answer and, as a rule, None in place of its weights
        return tuple(
            self._value(self._number - 1, name, one) if isinstance(one, Tensor) else one
            for one in result
        )


class _Recorder(TorchFunctionMode):
    """Records the call that returns each value that depends on the image, and the calls that read it."""

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()
        self._parameters = {id(parameter): name for name, parameter in network.named_parameters()}
        first = _Value(IMAGE, "", image.numel() / len(image))
        self.values, self.recorded = {id(image): first}, [first]
        self.weights: dict[int, str] = {}
        self.moved: dict[int, _Value] = {}
        self._kept: list[Any] = [image]  # a kept value's id is not used again
        self._number = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        args, kwargs = _by_position(name, args, kwargs or {})
        operands = list(_tensors([*args, *kwargs.values()]))
        sources = [self.values[id(one)] for one in operands if id(one) in self.values]
        result = func(*args, **kwargs)
        if not _counts(result):
            return result
        number, self._number = self._number, self._number + 1
        if not sources:
            return result
        results = [result] if isinstance(result, Tensor) else list(result)
        self._kept.append(results)
        if name in _MOVING:
            value = self.moved[number] = sources[0]
        else:
            value = _Value(number, name, results[0].numel() / len(results[0]))
            self.recorded.append(value)
            self._use(number, name, operands, sources, value, args, _bounds(name, args, kwargs))
        self.values |= {id(one): value for one in results}
        return result

    def _use(
        self,
        number: int,
        name: str,
        operands: Sequence[Tensor],
        sources: list[_Value],
        value: _Value,
        args: Any,
        bounds: tuple[float, float],
    ) -> None:
        if name in _MULTIPLYING and len(args) > 1 and id(args[1]) in self._parameters:
            self.weights[number] = self._parameters[id(args[1])]
            value.joined = True
        elif name in _JOINING and len(sources) == len(operands) > 1:
            value.joined = True
        elif name in _RECTIFYING and bounds[0] == 0:
            value.joined, value.most = sources[0].joined, bounds[1]
        else:
            name = "float"  # also products with constants
        for source in sources:
            source.users.append(name)


def _by_position(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of a call, of one that multiplies with input, weight and bias by position."""
    if name not in _MULTIPLYING:
        return args, kwargs
    operands, rest = list(args), dict(kwargs)
    for operand in _OPERANDS[len(args) :]:
        if operand not in rest:
            break
        operands.append(rest.pop(operand))
    return tuple(operands), rest


def _bounds(name: str, args: Any, kwargs: Any) -> tuple[float, float]:
    """The bounds of a rectifier's outputs."""
    if "hardtanh" in name:
        given = dict(zip(("input", "min_val", "max_val"), args, strict=False)) | kwargs
        return float(given.get("min_val", -1)), float(given.get("max_val", 1))
    return 0.0, 6.0 if name == "relu6" else math.inf


def _counts(result: Any) -> bool:
    """Whether a call has a number: its results are floating-point values of a batch, in every run."""
    first = result[0] if isinstance(result, tuple | list) and result else result
    return isinstance(first, Tensor) and first.is_floating_point() and first.ndim > 1


def _tensors(content: Sequence[Any]) -> Iterator[Tensor]:
    for one in content:
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, tuple | list):
            yield from _tensors(one)
