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

from espalier.errors import BadInput, reason_of
from espalier.models.graph import Example, Graph
from espalier.pruning.groups import DependencyGroups

_SPELLED = "Its forward pass may spell a width; name the layer before it in `keep`."
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
        _outputs_in_training(whole, inputs)
    except Exception:  # it cannot be trained with these inputs, cut or not
        return
    try:
        _outputs_in_training(smaller, inputs)
    except Exception as error:
        raise BadInput(
            f"Expected a pruned network that can be trained; found in {_place(error.__traceback__)}: "
            f"{reason_of(error)}. In training its forward pass takes another way, which is not "
            "traced: cut the network without that part, or name the layers that it reads in `keep`."
        ) from error


def check_values(
    whole: nn.Module,
    smaller: nn.Module,
    groups: DependencyGroups,
    kept: NDArray[np.bool_],
    example: Example,
) -> None:
    """Refuse a cut network that computes other values than the whole one without what was removed.

    The whole network is run with the weights that read removed groups set to zero. Where no operator
    mixes channels, both outputs are equal. Networks with such operators, and those whose inputs are
    whole numbers, are not compared.

    Raises:
        BadInput: if the outputs differ.
    """
    inputs = _inputs(example)
    floating = all(one.is_floating_point() for one in inputs)
    if not floating or kept.all() or _mixes(whole, inputs):
        return
    random = torch.Generator().manual_seed(0)
    drawn = tuple(torch.randn(one.shape, generator=random).to(one) for one in inputs)
    expected = _outputs(_unread(whole, groups, kept), drawn)
    found = _outputs(smaller, drawn)
    for one, other in zip(expected, found, strict=True):
        if not torch.isfinite(one).all():
            continue
        off = float((one - other).abs().max() / one.abs().max().clamp(min=1e-6))
        if off > _CLOSE:
            raise BadInput(
                "Expected the pruned network to compute what the whole one computes without the "
                f"removed channels; found outputs that are off by {off:.1%} of the largest. An "
                "operator of its forward pass couples channels in a way that is not known here; "
                "name the layers before it in `keep`."
            )


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
