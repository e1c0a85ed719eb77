"""The search for a target: choose, cut, measure, and choose again where the prediction was wrong."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import nn

from espalier.errors import BadInput, Notice
from espalier.measures.comparison import Comparison
from espalier.measures.macs import count_macs, count_parameters
from espalier.models.graph import Example
from espalier.pruning.budgets import BUDGETS, Kept, Layer, Problem
from espalier.pruning.channels import PrunableChannels
from espalier.pruning.costs import Cost, compare_network_latency, file_bytes, one_tensor
from espalier.pruning.scores.score import Losses
from espalier.pruning.size import Size
from espalier.pruning.spec import PruneSpec
from espalier.pruning.thresholds import thresholds

_NEAR = 0.02  # relative distance to the limit that is not reported
_TRIES = 4
_BATCHES = {"": 2, "batches": 2, "examples": 256}  # over which a loss is averaged, some 100 times


class Prunable(Protocol):
    """A network, and the groups that can be removed from it."""

    @property
    def network(self) -> nn.Module:
        """The whole network."""

    @property
    def example(self) -> Example:
        """Its inputs."""

    @property
    def count(self) -> int:
        """The number of groups."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The removable portions of each layer, in order."""

    def cost(self, target: str, whole: float) -> Cost:
        """The cost of the kept groups, if the whole network costs `whole`."""

    def cut(self, kept: Kept) -> nn.Module:
        """A copy of the network in which only some groups are left."""

    def explain_unreachable(self) -> str:
        """The reasons why nothing more can be removed."""

    def granularity(self) -> str:
        """The noun of the nearest possible choices."""

    def hint(self) -> str:
        """A way to come nearer to the target; empty if there is none."""


@dataclass(frozen=True)
class _Cut:
    """A cut and its measurements.

    Attributes:
        network: network after the cut.
        kept: groups that are left.
        found: measured cost.
        predicted: predicted cost.
        latency: latency before and after; None if it was not measured.
    """

    network: nn.Module
    kept: Kept
    found: float
    predicted: float
    latency: Comparison | None


MEASURES: dict[str, Callable[[nn.Module, Example], float]] = {
    "keep_macs": count_macs,
    "keep_parameters": lambda network, example: count_parameters(network),
    "bytes": lambda network, example: file_bytes(network, one_tensor(example)),
    "milliseconds": lambda network, example: (
        compare_network_latency(network, network, one_tensor(example)).parent
    ),
}


def prune_to_target(
    prunable: Prunable, spec: PruneSpec, losses: Losses | None, base: Size
) -> tuple[nn.Module, Kept]:
    """Cut a network so that it reaches a target.

    The budget chooses groups by predicted costs. If the measured cost misses the limit, the limit
    of the next choice is corrected by the error of the prediction, at most three times.

    Args:
        prunable: the network and its groups.
        spec: the request.
        losses: yields the loss of each training batch, if there are data.
        base: size to which fractions refer.

    Returns:
        The cut network, and the kept groups.

    Raises:
        BadInput: if the target is out of reach.

    Example:
        Limit 100, predicted 98, found 103: the next choice is made for a limit of 95.
    """
    assert spec.target is not None
    limit = spec.target.limit(base)
    before = MEASURES[spec.target.name](prunable.network, prunable.example)
    problem = _problem(prunable, spec, losses, limit, before)
    tries: list[_Cut] = []
    for _ in range(_TRIES):
        kept = BUDGETS[spec.budget](problem)
        if any((kept == former.kept).all() for former in tries):
            break
        last = _cut(prunable, spec, kept, problem.cost(kept))
        tries.append(last)
        error = last.found - last.predicted
        near = (1 - _NEAR) * limit <= last.found <= _most(spec, limit)
        if near or abs(error) < 1e-9 * limit:
            break
        problem = replace(problem, most=limit - error)
    best = min(tries, key=lambda one: (one.found > _most(spec, limit), abs(one.found - limit)))
    _report(prunable, spec, best, limit)
    return best.network, best.kept


def prune_below(prunable: PrunableChannels, spec: PruneSpec) -> tuple[nn.Module, Kept]:
    """Remove the portions in which every group scores below a threshold, by the target.

    Returns:
        The cut network, and the kept groups.
    """
    assert spec.target is not None
    kept = np.ones(prunable.count, bool)
    limits = thresholds(spec.target, prunable.scores, prunable.groups.layer)
    for layer in prunable.layers:
        for portion in layer.portions:
            if portion.highest >= limits[portion.members[0]]:
                break
            kept[portion.members] = False
    if kept.all():
        _warn(
            "Pruning removed nothing: no portion of a layer lies below "
            f"`{spec.target.name}: {spec.target.value:g}` as a whole."
        )
    return prunable.cut(kept), kept


def _problem(
    prunable: Prunable, spec: PruneSpec, losses: Losses | None, limit: float, before: float
) -> Problem:
    """The problem that the budget solves."""
    assert spec.target is not None
    cost = prunable.cost(spec.target.name, before)
    time = loss = None
    if spec.budget == "latency":
        time = _time(prunable, spec, cost)
    if losses:
        loss = _loss(prunable, losses, _BATCHES[spec.importance.data])
    return Problem(prunable.count, prunable.layers, cost, limit, spec.align, time, loss)


def _time(prunable: Prunable, spec: PruneSpec, cost: Cost) -> Cost:
    """The predicted milliseconds of the kept groups."""
    assert spec.target is not None
    if spec.target.name == "milliseconds":
        return cost
    whole = MEASURES["milliseconds"](prunable.network, prunable.example)
    return prunable.cost("milliseconds", whole)


def _most(spec: PruneSpec, limit: float) -> float:
    """The largest measured cost that keeps the limit: repeated latencies differ, counts do not."""
    assert spec.target is not None
    return limit * (1 + _NEAR) if spec.target.name == "milliseconds" else limit


def _cut(prunable: Prunable, spec: PruneSpec, kept: Kept, predicted: float) -> _Cut:
    """Cut the network and measure it."""
    assert spec.target is not None
    network = prunable.cut(kept)
    limits_time = spec.target.name == "milliseconds"
    latency = None
    if limits_time or spec.budget == "latency":
        example = one_tensor(prunable.example)
        latency = compare_network_latency(prunable.network, network, example)
    if limits_time and latency:
        return _Cut(network, kept, latency.child, predicted, latency)
    found = MEASURES[spec.target.name](network, prunable.example)
    return _Cut(network, kept, found, predicted, latency)


def _loss(prunable: Prunable, losses: Losses, batches: int) -> Callable[[Kept], float]:
    """A function of the kept groups: the mean loss over the first batches."""
    known: dict[bytes, float] = {}

    @torch.no_grad()
    def loss(kept: Kept) -> float:
        key = kept.tobytes()
        if key not in known:
            network = prunable.network if kept.all() else prunable.cut(kept)
            first = islice(losses(network), batches)
            known[key] = float(np.mean([float(one) for one in first]))
        return known[key]

    return loss


def _report(prunable: Prunable, spec: PruneSpec, cut: _Cut, limit: float) -> None:
    """Refuse an unreachable target; warn of one missed by 2 %, and of a slower network."""
    assert spec.target is not None
    noun = spec.target.noun
    digits = 3 if noun == "milliseconds" else 0
    allowed = f"{limit:,.{digits}f} {noun}"
    found = f"{cut.found:,.{digits}f}"
    most = _most(spec, limit)
    if cut.found > most and cut.predicted > limit:
        raise BadInput(
            f"Expected at most {allowed} after pruning; found {found}, where "
            f"{prunable.explain_unreachable()}."
        )
    if cut.found > most:
        predicted = f"{cut.predicted:,.{digits}f}"
        _warn(
            f"Expected at most {allowed} after pruning; found {found}, where {predicted} were "
            "predicted."
        )
    elif cut.kept.all():
        _warn(f"Pruning removed nothing: {found} of the allowed {allowed} are there.")
    elif cut.found < (1 - _NEAR) * limit:
        distance = 100 * (1 - cut.found / limit)
        _warn(
            f"Pruning left {found} of the allowed {allowed}: the nearest {prunable.granularity()} "
            f"are {distance:.1f} % below.{prunable.hint()}"
        )
    _report_slower(cut)


def _report_slower(cut: _Cut) -> None:
    if cut.latency and cut.latency.slower and not cut.kept.all():
        _warn(
            f"Expected a network that is not slower after pruning; found {cut.latency.child:.3f} "
            f"milliseconds at batch 1, and {cut.latency.parent:.3f} before."
        )


def _warn(text: str) -> None:
    warnings.warn(text, Notice, stacklevel=6)
