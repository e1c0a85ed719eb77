"""Operators whose operands or attributes are rewritten, so that sizes follow the batch and the channels."""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from espalier.models.onnx_import.call import Call
from espalier.models.onnx_import.layers import add_bias
from espalier.models.onnx_import.padding import spelled_pads
from espalier.models.onnx_import.values import (
    BATCHES,
    Activation,
    Array,
    Known,
    Unsupported,
    Value,
)
from espalier.models.reshapes import equal_runs

Rewriter = Callable[[Call], Sequence[Activation]]
_END = 2**62  # a bound behind every dimension
_FLOAT = 1  # number of float32 among the types of ONNX
_POOLING = ("kernel_shape", "strides", "ceil_mode", "count_include_pad")


def added(call: Call) -> Sequence[Activation]:
    """`Add`: the bias of the linear layer before it, or a sum."""
    biased = add_bias(call)
    if biased is not None:
        return [biased]
    return call.add(call.operands, {})


def reshape(call: Call) -> Sequence[Activation]:
    """`Reshape`: runs of dimensions that are merged and split."""
    keep_zero = bool(call.attributes.get("allowzero"))
    sizes = [
        _resolved(shape, wanted, keep_zero)
        for shape, wanted in zip(call.x.shapes, _target(call), strict=True)
    ]
    return _reshaped(call, sizes)


def flatten(call: Call) -> Sequence[Activation]:
    """`Flatten`: all dimensions but the batch, or a reshape."""
    axis = call.attributes.get("axis", 1)
    if axis == 1:
        return call.add((call.x,), {})
    sizes = [(prod(shape[:axis]), prod(shape[axis:])) for shape in call.x.shapes]
    return _reshaped(call, sizes)


def expand(call: Call) -> Sequence[Activation]:
    """`Expand`: None for each dimension that stays as it is."""
    target = _target(call)
    rank = max(len(target[0]), len(call.x.shape))
    sizes: list[int | None] = []
    for dim in range(-rank, 0):
        own = [_size(shape, dim, 0) for shape in call.x.shapes]
        asked = [_size(shape, dim, 1) for shape in target]
        if own[0] and asked in (own, [1, 1]):
            sizes.append(None)
        elif asked[0] == asked[1] and own[0] in (0, 1):
            sizes.append(asked[0])
        else:
            raise Unsupported("Expand of a value to the batch size")
    return call.add((call.x, sizes), {})


def concatenate(call: Call) -> Sequence[Activation]:
    """`Concat`: a constant that a file for a fixed number of examples holds for each is repeated."""
    fixed = call.graph.batch
    values = [one for one in call.operands if isinstance(one, Activation)]
    batched = any(one.batch_first for one in values)
    if fixed is None or not batched or call.attributes["axis"] == 0:
        return call.add(call.operands, call.attributes)
    given = [_for_each(one, fixed) for one in call.operands]
    return call.add(given, call.attributes)


def slices(call: Call) -> Sequence[Activation]:
    """`Slice`: bounds that follow the batch size must be its end."""
    ends = call.known(2)
    last = None
    if ends is not None:
        last = _without_batch(ends).tolist()
    bounds = (call.numbers(1), last, call.numbers(3), call.numbers(4))
    return call.add((call.x, *bounds), call.attributes)


def split(call: Call) -> Sequence[Activation]:
    """`Split`: without sizes into as many equal parts as there are outputs."""
    sizes = call.numbers(1)
    attributes = dict(call.attributes)
    if sizes is None and not attributes.get("split"):
        attributes["num_outputs"] = call.outputs
    return call.add((call.x, sizes), attributes)


def softmax(call: Call) -> Sequence[Activation]:
    """`Softmax` and `LogSoftmax`; before version 13 they are over all dimensions from the axis on."""
    shape = call.x.shape
    old = call.graph.opset < 13
    axis = call.attributes.get("axis", 1 if old else -1)
    axis %= len(shape)
    if old and prod(shape[axis + 1 :]) != 1:
        raise Unsupported(f"{call.operator} over several dimensions")
    return call.add((call.x,), {"axis": axis})


def pool(call: Call) -> Sequence[Activation]:
    """`MaxPool` and `AveragePool` with their padding in numbers."""
    kernel = call.attributes["kernel_shape"]
    ones = [1] * len(kernel)
    dilations = call.attributes.get("dilations", ones)
    windows = {
        "kernel_size": kernel,
        "stride": call.attributes.get("strides", ones),
        "dilation": dilations,
    }
    attributes = {name: value for name, value in call.attributes.items() if name in _POOLING}
    attributes["pads"] = spelled_pads(call.x.shape[2:], call.attributes, windows)
    if dilations != ones:
        attributes["dilations"] = dilations
    return call.add((call.x,), attributes)


def cast(call: Call) -> Sequence[Activation]:
    """`Cast` of a float32 value to float32, which changes nothing."""
    is_float = call.x.metas[0].is_floating_point()
    if call.attributes["to"] != _FLOAT or not is_float:
        raise Unsupported("Cast of a value to another type")
    return [call.x]


def same(call: Call) -> Sequence[Activation]:
    """An operator that changes nothing in evaluation mode."""
    return [call.x]


REWRITERS: dict[str, Rewriter] = {
    "Add": added,
    "AveragePool": pool,
    "Cast": cast,
    "Concat": concatenate,
    "Dropout": same,
    "Expand": expand,
    "Flatten": flatten,
    "Identity": same,
    "LogSoftmax": softmax,
    "MaxPool": pool,
    "Reshape": reshape,
    "Slice": slices,
    "Softmax": softmax,
    "Split": split,
}


def _size(shape: Sequence[int], dim: int, absent: int) -> int:
    """A size, counted from the last one; another number if the shape is too short."""
    return shape[dim] if -dim <= len(shape) else absent


def _target(call: Call) -> list[list[int]]:
    """The shape that the second operand names, at both batch sizes."""
    target = call.known(1)
    if target is None:
        raise Unsupported(f"{call.operator} without a shape")
    return [_of_batch(call, array.tolist(), place) for place, array in enumerate(target.arrays)]


def _of_batch(call: Call, sizes: list[int], place: int) -> list[int]:
    """A shape at one of the two batch sizes: a file for a fixed number of examples spells that number.

    Example:
        A file for 1 example reshapes (1, 4, 8) to [4, 8]: 13 examples become [52, 8].
    """
    fixed = call.graph.batch
    if fixed is None or not sizes or sizes[0] % fixed:
        return sizes
    batch = BATCHES[place]
    volume = prod(call.x.shapes[place])
    leads = call.x.batch_first and sizes[0] == fixed
    contains = prod(sizes) * batch == volume * fixed
    if not leads and not contains:
        return sizes
    first = sizes[0] // fixed * batch
    return [first, *sizes[1:]]


def _resolved(shape: tuple[int, ...], wanted: Sequence[int], keep_zero: bool) -> tuple[int, ...]:
    """The sizes after a reshape: 0 stands for the size before it, -1 for what is left."""
    sizes = [shape[dim] if size == 0 and not keep_zero else size for dim, size in enumerate(wanted)]
    known = prod(size for size in sizes if size != -1)
    left = prod(shape) // max(1, known)
    found = tuple(left if size == -1 else size for size in sizes)
    if prod(found) != prod(shape) or 0 in found:
        raise Unsupported(f"Reshape of {list(shape)} to {list(wanted)}")
    return found


def _reshaped(call: Call, sizes: Sequence[tuple[int, ...]]) -> Sequence[Activation]:
    """A reshape to the sizes at both batch sizes."""
    first, second = call.x.shapes
    runs = equal_runs(first, sizes[0])
    if runs != equal_runs(second, sizes[1]):
        raise Unsupported("Reshape that mixes the batch with other dimensions")
    described = []
    for before, after in runs:
        count = len(first[before])
        described.append([count, _sizes_of_run(sizes[0][after], sizes[1][after])])
    return call.graph.add_function("Reshape", (call.x, described), {})


def _sizes_of_run(one: Sequence[int], other: Sequence[int]) -> list[int | None]:
    """The sizes of a run: -1 follows the batch, and otherwise None, the last above 1, the channels."""
    pairs = zip(one, other, strict=True)
    sizes: list[int | None] = [size if size == also else -1 for size, also in pairs]
    if sizes.count(-1) > 1:
        raise Unsupported("Reshape that splits the batch")
    wide = [dim for dim, size in enumerate(one) if size > 1]
    if -1 not in sizes and wide:
        last = wide[-1]
        sizes[last] = None
    return sizes


def _for_each(value: Value, batch: int) -> Value:
    """A constant of one row for each of a fixed number of examples, at both batch sizes."""
    if not isinstance(value, Known):
        return value
    array = value.constant()
    if len(array) != batch:
        return value
    row = array[:1]
    if (array != row).any():
        raise Unsupported("Concat with a constant that differs between examples")
    one, other = (np.repeat(row, size, axis=0) for size in BATCHES)
    return Known((one, other), value.name)


def _without_batch(bounds: Known) -> Array:
    """Bounds of slices, where the end of the batch is behind every dimension."""
    one, other = bounds.arrays
    follows = (one == BATCHES[0]) & (other == BATCHES[1])
    fixed = one == other
    if not (follows | fixed).all():
        raise Unsupported("Slice to a part of the batch")
    return np.where(follows, _END, one)
