"""Sizes that a forward pass spells, and other ones in their place while it runs.

>>> import torch
>>> from torch import nn
>>> class Flat(nn.Module):
...     def forward(self, x):
...         return x.view(-1, 8)
>>> layer = Flat()
>>> Respeller.of(layer).add([Spelling("", "view", 2, 1, before=8, after=4)])
>>> layer(torch.zeros(3, 2, 2)).shape
torch.Size([3, 4])
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_ATTRIBUTE = "_espalier_respeller"
_CONVOLUTIONS = ("conv1d", "conv2d", "conv3d")
_VARIADIC = ("view", "reshape", "expand")

# position and keyword of the argument of each call that spells sizes
_ARGUMENTS: dict[str, tuple[int, str]] = {
    "view": (1, "size"),
    "reshape": (1, "shape"),
    "expand": (1, "size"),
    "unflatten": (2, "sizes"),
    "layer_norm": (1, "normalized_shape"),
    "rms_norm": (1, "normalized_shape"),
    **dict.fromkeys(_CONVOLUTIONS, (6, "groups")),
}


@dataclass(frozen=True)
class Spelling:
    """One size of the calls of a kind inside a layer, and the size that replaces it.

    Attributes:
        layer: Name of the layer in whose forward pass the calls are; empty for the network itself.
        call: Name of the function of torch, such as `view`.
        count: Number of sizes of the call.
        at: Position of the size among them.
        before: Size that the forward pass spells.
        after: Size that replaces it.
        operand: Dimensions of the operand, and the size that each has after the cut: calls of other
            operands, which lost nothing or something else, spell the same numbers and keep them.
    """

    layer: str
    call: str
    count: int
    at: int
    before: int
    after: int
    operand: tuple[tuple[int, int], ...] = ()

    def is_meant(self, call: "Call") -> bool:
        """Whether a call inside the layer spells this size."""
        if call.name != self.call or len(call.sizes) != self.count:
            return False
        shape = [_number(size) for size in call.args[0].shape]
        known = all(dim < len(shape) and shape[dim] == size for dim, size in self.operand)
        return known and call.sizes[self.at] == self.before


@dataclass(frozen=True)
class Call:
    """A call of a function of torch that spells sizes.

    Attributes:
        name: Name of the function.
        args: Its arguments.
        kwargs: Its keyword arguments.
        sizes: The sizes; None in place of a symbol.
    """

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sizes: tuple[int | None, ...]

    @classmethod
    def read(
        cls, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Self | None:
        """The call of a function with some arguments; None if it spells no sizes."""
        name = getattr(function, "__name__", "")
        if name not in _ARGUMENTS or not args or not isinstance(args[0], Tensor):
            return None
        sizes = tuple(_number(size) for size in _spelled(name, args, kwargs))
        return cls(name, args, kwargs, sizes)

    def with_sizes(self, sizes: Sequence[int | None]) -> Self:
        """The same call with other sizes; None changes nothing."""
        given = _spelled(self.name, self.args, self.kwargs)
        pairs = zip(given, self.sizes, sizes, strict=True)
        written = [old if new in (None, number) else new for old, number, new in pairs]
        position, keyword = _ARGUMENTS[self.name]
        value = written[0] if self.name in _CONVOLUTIONS else tuple(written)
        sizes = tuple(_number(size) for size in written)
        if keyword in self.kwargs:
            return replace(self, kwargs={**self.kwargs, keyword: value}, sizes=sizes)
        rest = () if self.name in _VARIADIC else self.args[position + 1 :]
        return replace(self, args=(*self.args[:position], value, *rest), sizes=sizes)

    def respelled(self, spellings: Sequence[Spelling]) -> Self:
        """The same call with the sizes that replace its own, all at once."""
        sizes = list(self.sizes)
        for one in spellings:
            if one.is_meant(self):
                sizes[one.at] = one.after
        return self if tuple(sizes) == self.sizes else self.with_sizes(sizes)


class Respeller:
    """Replaces sizes while the forward pass of a layer runs, by hooks of the layer.

    Copies of the layer copy the hooks along.
    """

    def __init__(self) -> None:
        self.rounds: list[tuple[Spelling, ...]] = []
        self._running: list[_Replacement] = []

    @classmethod
    def of(cls, layer: nn.Module) -> Self:
        """The respeller of a layer, made on the first call."""
        own: Self | None = getattr(layer, _ATTRIBUTE, None)
        if own is None:
            own = cls()
            setattr(layer, _ATTRIBUTE, own)
            layer.register_forward_pre_hook(own._enter)
            layer.register_forward_hook(own._leave, always_call=True)
        return own

    def add(self, spellings: Sequence[Spelling]) -> None:
        """Replace sizes, after all earlier replacements."""
        self.rounds.append(tuple(spellings))

    def _enter(self, layer: nn.Module, inputs: Any) -> None:
        mode = _Replacement(self.rounds)
        mode.__enter__()  # type: ignore[no-untyped-call]
        self._running.append(mode)

    def _leave(self, layer: nn.Module, inputs: Any, outputs: Any) -> None:
        self._running.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]


class _Replacement(TorchFunctionMode):
    """Replaces sizes in calls of torch."""

    def __init__(self, rounds: Sequence[Sequence[Spelling]]) -> None:
        super().__init__()
        self._rounds = rounds

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, with other sizes where they are replaced."""
        kwargs = kwargs or {}
        call = Call.read(func, args, kwargs)
        if call is None:
            return func(*args, **kwargs)
        for spellings in self._rounds:
            call = call.respelled(spellings)
        return func(*call.args, **call.kwargs)


def _spelled(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The sizes among the arguments: one list, or all that are left."""
    position, keyword = _ARGUMENTS[name]
    if keyword in kwargs:
        found = (kwargs[keyword],)
    elif name in _VARIADIC:
        found = args[position:]
    else:
        found = args[position : position + 1]
    is_list = len(found) == 1 and isinstance(found[0], list | tuple)
    return tuple(found[0]) if is_list else found


def _number(size: Any) -> int | None:
    """A size as a number; while torch.jit traces, sizes are tensors."""
    if type(size) is int:
        return size
    if isinstance(size, Tensor) and _is_tracing():
        return int(size)
    return None


def _is_tracing() -> bool:
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]
