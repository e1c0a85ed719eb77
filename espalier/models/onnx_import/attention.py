"""Attention as pruning understands it: the number of heads is left open, and queries, keys and values are selected."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from espalier.models.onnx_graph import Step
from espalier.models.onnx_graph.shapes import BATCH

_BETWEEN = (
    "Transpose",
    "Mul",
    "Div",
    "Split",
    "Gather",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Reshape",
)


def free_heads(steps: Sequence[Step], shapes: Mapping[str, Sequence[int]]) -> list[Step]:
    """The steps, where a reshape into heads spells the width of a head and not their number.

    Args:
        steps: steps of the network.
        shapes: shape of each value.

    Example:
        (N, T, 64) to (N, T, 4, 16), whose result is multiplied by another value: `[4, None]` becomes
        `[None, 16]`, so a network with 3 heads left computes (N, T, 3, 16) from (N, T, 48).
    """
    readers = _readers(steps)
    return [
        _freed(step, shapes[step.outputs[0]])
        if step.operator == "Reshape" and _leads_to_product(step, readers)
        else step
        for step in steps
    ]


def select_parts(steps: Sequence[Step]) -> list[Step]:
    """The steps, where a part of size 1 that is squeezed next is a selection.

    Example:
        (3, N, h, T, e) split into three of (1, N, h, T, e), squeezed to (N, h, T, e): queries, keys and
        values are indices 0, 1 and 2 of the first dimension.
    """
    readers = _readers(steps)
    replaced: dict[str, Step] = {}  # by the output that it computes
    dropped: set[str] = set()
    for step in steps:
        squeezes = [reader for name in step.outputs for reader in readers.get(name, ())]
        places = _places(step)
        if not places or not all(_squeezes(one, places[0][0]) for one in squeezes):
            continue
        dropped.add(step.outputs[0])
        for squeeze in squeezes:
            axis, place = places[step.outputs.index(squeeze.names[0])]
            replaced[squeeze.outputs[0]] = Step(
                "Gather", (step.inputs[0], place), squeeze.outputs, {"axis": axis}
            )
    return [replaced.get(step.outputs[0], step) for step in steps if step.outputs[0] not in dropped]


def _places(step: Step) -> list[tuple[int, int]]:
    """Axis and index of each output of a step that takes single indices of a tensor; else empty."""
    if step.operator == "Split":
        sizes = step.attributes.get("split") or step.inputs[1] or ()
        axis = step.attributes.get("axis", 0)
        return [(axis, place) for place in range(len(sizes))] if set(sizes) == {1} else []
    if step.operator == "Slice" and len(step.inputs) == 4:
        starts, ends, axes = step.inputs[1:]
        if len(starts) == 1 and starts[0] >= 0 and ends[0] == starts[0] + 1:
            return [(axes[0], starts[0])]
    return []


def _squeezes(step: Step, axis: int) -> bool:
    """Whether a step drops one dimension, and nothing else."""
    if step.operator != "Squeeze":
        return False
    axes = step.attributes.get("axes") or (step.inputs[1] if len(step.inputs) > 1 else None)
    return bool(axes == [axis])


def transpose_keys(steps: Sequence[Step], shapes: Mapping[str, Sequence[int]]) -> list[Step]:
    """The steps, where matrices are transposed without merging their leading dimensions for it.

    Example:
        Torch's exporter transposes keys (N, h, T, e) by way of (N h, T, e) and (N h, e, T) to
        (N, h, e, T), and the merged dimension would hide the heads.
    """
    readers = _readers(steps)
    replaced: dict[str, Step] = {}
    for merge in steps:
        chain = _chain(merge, readers)
        if [step.operator for step in chain] != ["Reshape", "Transpose", "Reshape"]:
            continue
        _, turn, split = chain
        before, after = shapes[merge.names[0]], shapes[split.outputs[0]]
        swapped = [*before[:2], *before[:1:-1]]
        is_merge = merge.inputs[1] == [[2, [BATCH]], [1, [None]], [1, [None]]]
        if is_merge and turn.attributes.get("perm") == [0, 2, 1] and list(after) == swapped:
            replaced[split.outputs[0]] = Step(
                "Transpose", merge.names[:1], split.outputs, {"perm": [0, 1, 3, 2]}
            )
    return [replaced.get(step.outputs[0], step) for step in steps]


def _chain(step: Step, readers: Mapping[str, Sequence[Step]]) -> list[Step]:
    """A step and the two after it, each the only reader of the one before."""
    chain = [step]
    while len(chain) < 3:
        following = readers.get(chain[-1].outputs[0], ())
        if len(following) != 1:
            break
        chain.append(following[0])
    return chain


def _readers(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """The steps that read each value."""
    readers: dict[str, list[Step]] = {}
    for step in steps:
        for name in step.names:
            readers.setdefault(name, []).append(step)
    return readers


def _leads_to_product(step: Step, readers: dict[str, list[Step]], depth: int = 8) -> bool:
    """Whether the outputs of a step reach a product of values, through operators that only move them."""
    if not depth:
        return False
    for name in step.outputs:
        for reader in readers.get(name, ()):
            if reader.layer is None and reader.operator in ("MatMul", "Einsum"):
                return True
            if reader.operator in _BETWEEN and _leads_to_product(reader, readers, depth - 1):
                return True
    return False


def _freed(step: Step, shape: Sequence[int]) -> Step:
    x, runs = step.inputs
    freed, start = [], 0
    for count, sizes in runs:
        part = shape[start : start + len(sizes)]
        freed.append([count, _with_free_heads(sizes, part)])
        start += len(sizes)
    return replace(step, inputs=(x, freed))


def _with_free_heads(sizes: Sequence[int | None], found: Sequence[int]) -> list[int | None]:
    """Sizes of a run whose last is a number, and the one before it free, if it has both."""
    heads = len(sizes) - 2
    if heads < 0 or sizes[-1] is not None or sizes[heads] == 1:
        return list(sizes)
    return [*sizes[:heads], None, found[-1]]
