"""Sizes that a forward pass spells, rewritten in a cut network where the analysis knows them.

The whole network and the cut one make the same calls in the same order. The analysis knows the
shape that each value has after the cut. Where a call of the cut network has other sizes than this
shape demands, they are replaced, and the replacement is recorded as an edit. Nothing is guessed:
calls whose shape is not known, or not unique, stay as they are, and the proof of the cut
refuses what is wrong then.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from espalier.models.attention import with_prunable_attention
from espalier.models.graph import Example, doubled, evaluating
from espalier.models.structure import Call, Respelled, Spelling, apply_edits
from espalier.pruning.groups import DependencyGroups

Shape = tuple[int, ...]


@dataclass(frozen=True)
class SpellingCall:
    """A call that spells sizes, as the whole network makes it.

    Attributes:
        name: name of the function of torch.
        before: shape of its operand.
        after: shape of its result.
    """

    name: str
    before: Shape
    after: Shape


def spelling_calls(network: nn.Module, example: Example) -> list[SpellingCall]:
    """The calls that spell sizes in the forward pass of a network, in order."""
    recording = _Recording()
    own = with_prunable_attention(network)
    with torch.no_grad(), evaluating(own), recording:
        own(*doubled(example))
    return recording.calls


def respell(
    smaller: nn.Module,
    calls: list[SpellingCall],
    groups: DependencyGroups,
    kept: NDArray[np.bool_],
    example: Example,
) -> None:
    """Replace the sizes that do not fit a cut network, in place, and record the replacements.

    Args:
        smaller: network after the cut.
        calls: result of `spelling_calls` for the network before the cut.
        groups: dependency groups of the network before the cut.
        kept: (count,) whether each group stays.
        example: inputs of the network.

    Example:
        `x.view(-1, 256)` of 16 channels at 16 positions, cut to 12 channels: the analysis
        knows that the result has the shape (N, 192), so that the 256 is replaced by 192.
    """
    if kept.all() or not calls:
        return
    rewriting = _Rewriting(calls, _expected(groups, kept))
    try:
        with torch.no_grad(), evaluating(smaller), rewriting.inside(smaller), rewriting:
            smaller(*doubled(example))
    except Exception:  # noqa: S110 - the proof of the cut runs it again, and refuses it
        pass
    spellings = rewriting.spellings()
    if spellings:
        apply_edits(smaller, [Respelled(spellings)])


def _expected(
    groups: DependencyGroups, kept: NDArray[np.bool_]
) -> dict[tuple[str, Shape], set[Shape]]:
    """The shapes after the cut of all values of an operator that have one shape before it."""
    whole = groups.shapes(np.ones(groups.count, bool))
    expected = defaultdict(set)
    for (name, before), (_, after) in zip(whole, groups.shapes(kept), strict=True):
        operator = name.rstrip("_0123456789") if name.rpartition("_")[2].isdigit() else name
        expected[operator, before].add(after)
    return expected


class _Recording(TorchFunctionMode):
    """Records the calls that spell sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[SpellingCall] = []

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch, and record it."""
        call = Call.read(func, args, kwargs or {})
        result = func(*args, **(kwargs or {}))
        if call is not None and isinstance(result, Tensor):
            shapes = tuple(args[0].shape), tuple(result.shape)
            self.calls.append(SpellingCall(call.name, *shapes))
        return result


class _Rewriting(TorchFunctionMode):
    """Gives each call the sizes that the analysis expects, and notes the differences."""

    def __init__(
        self, calls: list[SpellingCall], expected: dict[tuple[str, Shape], set[Shape]]
    ) -> None:
        super().__init__()
        self._calls = iter(calls)
        self._expected = expected
        self._around: list[str] = []
        self._replaced: dict[Spelling, set[int]] = defaultdict(set)

    @contextmanager
    def inside(self, network: nn.Module) -> Iterator[None]:
        """The names of the layers whose forward passes run are known inside the block."""
        handles = []
        for name, layer in network.named_modules():
            enter, leave = self._hooks(name)
            handles.append(layer.register_forward_pre_hook(enter))
            handles.append(layer.register_forward_hook(leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def spellings(self) -> tuple[Spelling, ...]:
        """The replacements; none for a size that would need several."""
        found = []
        for one, after in self._replaced.items():
            if len(after) == 1 and after != {one.before}:
                found.append(replace(one, after=after.pop()))
        return tuple(found)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch with the sizes that are expected."""
        call = Call.read(func, args, kwargs or {})
        if call is None:
            return func(*args, **(kwargs or {}))
        whole = next(self._calls)
        sizes = call.sizes
        if whole.name == call.name:
            sizes = _fitting(call, whole, self._expected[call.name, whole.after])
            self._note(call, sizes, _narrowed(call, whole))
        changed = call if sizes == call.sizes else call.with_sizes(sizes)
        return func(*changed.args, **changed.kwargs)

    def _note(
        self, call: Call, sizes: tuple[int | None, ...], operand: tuple[tuple[int, int], ...]
    ) -> None:
        layer, count = self._around[-1], len(sizes)
        for at, (before, after) in enumerate(zip(call.sizes, sizes, strict=True)):
            if before is not None and after is not None:
                key = Spelling(layer, call.name, count, at, before, before, operand)
                self._replaced[key].add(after)

    def _hooks(self, name: str) -> tuple[Any, Any]:
        def enter(layer: nn.Module, inputs: Any) -> None:
            self._around.append(name)

        def leave(layer: nn.Module, inputs: Any, outputs: Any) -> None:
            self._around.pop()

        return enter, leave


def _fitting(call: Call, whole: SpellingCall, expected: set[Shape]) -> tuple[int | None, ...]:
    """The sizes with which a call has the expected shape; its own where that is not known."""
    operand = tuple(call.args[0].shape)
    if call.name.startswith("conv"):
        return _groups(call, whole, operand)
    fitting = {after for after in expected if _is_possible(call.name, operand, after)}
    proposed = {_sized(call, operand, after) for after in fitting}
    if len(proposed) == 1:
        return proposed.pop()
    return call.sizes


def _narrowed(call: Call, whole: SpellingCall) -> tuple[tuple[int, int], ...]:
    """The dimensions of an operand that lost indices, and their sizes; the batch is left out."""
    pairs = enumerate(zip(call.args[0].shape, whole.before, strict=True))
    return tuple((dim, int(size)) for dim, (size, before) in pairs if dim and size != before)


def _is_possible(name: str, operand: Shape, after: Shape) -> bool:
    """Whether a call may map an operand to a shape."""
    if name.endswith("norm"):
        return operand == after
    if name == "expand":
        last = after[len(after) - len(operand) :]
        return all(own in (1, new) for own, new in zip(operand, last, strict=True))
    return prod(operand) == prod(after)


def _sized(call: Call, operand: Shape, after: Shape) -> tuple[int | None, ...]:
    """The sizes with which a call has a result of some shape."""
    first = _first(call, operand)
    sizes = list(call.sizes)
    for at, size in enumerate(call.sizes):
        if size not in (None, -1):
            sizes[at] = after[first + at]
    return tuple(sizes)


def _first(call: Call, operand: Shape) -> int:
    """The dimension of the result that the first size of a call belongs to."""
    if call.name.endswith("norm"):
        return len(operand) - len(call.sizes)
    if call.name == "unflatten":
        dim = call.args[1] if len(call.args) > 1 else call.kwargs["dim"]
        return int(dim) % len(operand)
    return 0


def _groups(call: Call, whole: SpellingCall, operand: Shape) -> tuple[int | None, ...]:
    """The groups of a depthwise convolution: as many as it has channels."""
    channels = whole.before[1]
    if call.sizes == (channels,) and channels > 1:
        return (operand[1],)
    return call.sizes
