"""Proof of a cut: the smaller network runs, in both modes, and computes what it should."""

import copy
import linecache
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.fx import Node

from espalier.errors import BadInput, reason_of
from espalier.models.attention import with_prunable_attention
from espalier.models.graph import Example, Graph, doubled
from espalier.models.structure import edits_of
from espalier.pruning.groups import DependencyGroups

_SPELLED = "Its forward pass may spell a width; name the layer before it in `keep`."
_UNTRACED = (
    "In training its forward pass takes another way, which is not traced: cut the network without "
    "that part, or name the layers that it reads in `keep`."
)
_CLOSE = 1e-3  # of the largest output; rounding is far below
_HERE = Path(__file__).resolve().parents[2]
# Operators in which an index of a channel counts for others, or a product without a weight: with
# them a network without some channels computes other values than one that does not read them.
_MIXING = (
    "layer_norm",
    "rms_norm",
    "group_norm",
    "softmax",
    "log_softmax",
    "matmul",
    "bmm",
    "mm",
    "baddbmm",
    "addmm",
    "einsum",
    "scaled_dot_product_attention",
    "cumsum",
    "linalg_vector_norm",
)
_ARITHMETIC = ("add", "sub", "rsub", "mul", "div", "floor_divide", "pow", "clamp", "full")


def check_runs(smaller: nn.Module, example: Example) -> None:
    """Refuse a cut network whose forward pass fails.

    Raises:
        BadInput: if it fails; the message has the line of the user's code.
    """
    try:
        _outputs(smaller, _inputs(example))
    except Exception as error:  # anything that a user's forward pass does with other widths
        raise BadInput(
            f"Expected a pruned network that runs; found in {_place(error.__traceback__)}: "
            f"{reason_of(error)}. {_SPELLED}"
        ) from error


def check_trains(whole: nn.Module, smaller: nn.Module, example: Example) -> None:
    """Refuse a cut network that runs in evaluation mode alone, where the whole one can be trained.

    Raises:
        BadInput: if it fails in training mode; the message has the line of the user's code.
    """
    inputs = _inputs(example)
    try:
        expected = _outputs_in_training(whole, inputs)
    except Exception:  # it cannot be trained with these inputs, cut or not
        return
    try:
        found = _outputs_in_training(smaller, inputs)
    except Exception as error:
        raise BadInput(
            f"Expected a pruned network that can be trained; found in {_place(error.__traceback__)}: "
            f"{reason_of(error)}. {_UNTRACED}"
        ) from error
    for one, other in zip(expected, found, strict=False):
        if one.shape != other.shape:
            raise BadInput(
                "Expected a pruned network that can be trained, with outputs of the shape "
                f"{list(one.shape)}; found {list(other.shape)} in training. {_UNTRACED}"
            )


def check_numbers(whole: nn.Module, smaller: nn.Module, example: Example) -> None:
    """Refuse a cut network of replaced sizes whose forward pass computes other numbers than before.

    Sizes are replaced where they give values their shapes. A number that the forward pass computes
    from the same width, such as the scale of attention, has no shape: it must not change.

    Raises:
        BadInput: if a number changes; the message has the line of the user's code.
    """
    if edits_of(whole) != edits_of(smaller):
        _refuse_other_numbers(whole, smaller, example)


def _refuse_other_numbers(whole: nn.Module, smaller: nn.Module, example: Example) -> None:
    """Refuse a cut network whose operators have other numbers than those of the whole one."""
    before = Graph(with_prunable_attention(whole), example)
    after = Graph(smaller, example)
    for former, node in zip(before.nodes, after.nodes, strict=False):
        numbers, others = _numbers(before, former), _numbers(after, node)
        if numbers != others:
            raise BadInput(
                f"Expected a pruned network that computes with the same numbers; found {others} "
                f"instead of {numbers} in {after.line(node)}. Its forward pass computes a number "
                "from a width; name the layer before it in `keep`."
            )


def check_batches(whole: nn.Module, smaller: nn.Module, example: Example) -> None:
    """Refuse a cut network of replaced sizes that computes something else for a larger batch.

    Sizes are replaced where they are equal to known ones, which must not depend on the batch.

    Raises:
        BadInput: if it fails for a larger batch that the whole one takes, or an output changes.
    """
    if edits_of(whole) == edits_of(smaller):
        return
    inputs = doubled(example)
    larger = tuple(torch.cat([one, one[:1]]) for one in inputs)
    if not _is_same_for(whole, inputs, larger):
        return
    if not _is_same_for(smaller, inputs, larger):
        raise BadInput(
            "Expected a pruned network that computes the same for every batch size; found other "
            f"outputs for {len(larger[0])} examples than for {len(inputs[0])}. {_SPELLED}"
        )


def _is_same_for(
    network: nn.Module, inputs: tuple[Tensor, ...], larger: tuple[Tensor, ...]
) -> bool:
    """Whether a network computes for a larger batch what it computes for its first examples."""
    expected = _outputs(network, inputs)
    try:
        found = _outputs(network, larger)
    except Exception:  # anything that a user's forward pass does with another batch
        return False
    pairs = list(zip(expected, found, strict=True))
    return all(
        one.shape[1:] == other.shape[1:]
        and len(other) == len(larger[0])
        and torch.allclose(one, other[: len(one)], rtol=_CLOSE, atol=_CLOSE, equal_nan=True)
        for one, other in pairs
    )


def check_values(
    whole: nn.Module,
    smaller: nn.Module,
    groups: DependencyGroups,
    kept: NDArray[np.bool_],
    example: Example,
) -> None:
    """Refuse a cut network that computes other values than the whole one without what was removed.

    The whole network is run with the weights that read removed groups set to zero. Where no operator
    mixes channels, both outputs are equal. Networks with such operators may differ, but not by the
    numbers that they compute with. Inputs are random; those of whole numbers, such as tokens, are the
    example's own.

    Raises:
        BadInput: if the outputs differ, or the numbers of a network whose outputs may.
    """
    inputs = _inputs(example)
    if kept.all():
        return
    random = torch.Generator().manual_seed(0)
    drawn = tuple(
        torch.randn(one.shape, generator=random).to(one) if one.is_floating_point() else one
        for one in inputs
    )
    expected = _outputs(_unread(whole, groups, kept), drawn)
    found = _outputs(smaller, drawn)
    for one, other in zip(expected, found, strict=True):
        if not torch.isfinite(one).all():
            continue
        off = float((one - other).abs().max() / one.abs().max().clamp(min=1e-6))
        if off <= _CLOSE:
            continue
        if _mixes(whole, inputs):  # last, because it traces the network
            _refuse_other_numbers(whole, smaller, example)
            return
        raise BadInput(
            "Expected the pruned network to compute what the whole one computes without the "
            f"removed channels; found outputs that are off by {off:.1%} of the largest. An "
            "operator of its forward pass couples channels in a way that is not known here; "
            "name the layers before it in `keep`."
        )


def _numbers(graph: Graph, node: Node) -> list[float]:
    """The numbers that an operator computes with: all but its sizes, dimensions and places."""
    given = [*node.args, *node.kwargs.values()]
    if graph.operator(node).rstrip("_") in _ARITHMETIC:
        return [one for one in given if isinstance(one, int | float)]
    return [one for one in given if isinstance(one, float)]


def _mixes(network: nn.Module, inputs: tuple[Tensor, ...]) -> bool:
    graph = Graph(network, inputs)
    return any(graph.operator(node).rstrip("_") in _MIXING for node in graph.nodes)


def _unread(network: nn.Module, groups: DependencyGroups, kept: NDArray[np.bool_]) -> nn.Module:
    """A copy of a network in which no weight reads a removed group."""
    unread = copy.deepcopy(network)
    removed = np.append(~kept, False)  # indices without group have the number -1
    with torch.no_grad():
        for name, parameter in unread.named_parameters():
            for dim, group in groups.where.get(name, {}).items():
                if (name, dim) in groups.reads:
                    indices = torch.from_numpy(np.flatnonzero(removed[group]))
                    parameter.index_fill_(dim, indices.to(parameter.device), 0.0)
    return unread


def _inputs(example: Example) -> tuple[Tensor, ...]:
    return example if isinstance(example, tuple) else (example,)


@torch.no_grad()
def _outputs(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """All tensors of an output, in order."""
    found: list[Tensor] = []
    _collect(network(*inputs), found)
    return found


def _outputs_in_training(network: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The outputs of a copy in training mode; torch's generators stay as they were."""
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices):
        return _outputs(copy.deepcopy(network).train(), inputs)


def _collect(value: Any, found: list[Tensor]) -> None:
    if isinstance(value, Tensor):
        if value.is_floating_point():
            found.append(value)
    elif isinstance(value, dict):
        for one in value.values():
            _collect(one, found)
    elif isinstance(value, list | tuple):
        for one in value:
            _collect(one, found)


def _place(trace: TracebackType | None) -> str:
    """The last line of a traceback outside torch and this package: file, number and code."""
    ours = str(_HERE)
    torch_folder = str(Path(torch.__file__).parent)
    frames = traceback.extract_tb(trace)
    outside = [one for one in frames if not one.filename.startswith((ours, torch_folder))]
    chosen = (outside or frames)[-1]
    code = linecache.getline(chosen.filename, chosen.lineno or 0).strip()
    return f"{Path(chosen.filename).name}:{chosen.lineno} `{code}`"
