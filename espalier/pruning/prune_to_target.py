"""The search for the targets: choose, cut, measure, and choose again where the prediction was wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

import numpy as np
import torch
from torch import nn

from espalier.errors import BadInput
from espalier.measures.comparison import Comparison
from espalier.measures.macs import count_macs, count_parameters
from espalier.models.graph import Example
from espalier.pruning.budgets import BUDGETS, Kept, Layer, Limit, Problem
from espalier.pruning.costs import Cost, Deployment, compare_network_latency, file_bytes
from espalier.pruning.notices import warn
from espalier.pruning.scores.score import Losses
from espalier.pruning.size import Size
from espalier.pruning.spec import PruneSpec
from espalier.pruning.target import Target

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
    def deployment(self) -> Deployment | None:
        """Its surroundings in the deployed file; None for the usual ones of such inputs."""

    @property
    def count(self) -> int:
        """The number of groups."""

    @property
    def layers(self) -> Sequence[Layer]:
        """The removable portions of each layer, in order."""

    def cost(self, target: str, whole: float) -> Cost:
        """The cost of the kept groups, if the whole network costs `whole`."""

    def saved(self, target: str, limited: Cost) -> Cost:
        """The cost that is saved on the way to a target: the limited one, or a time."""

    def cut(self, kept: Kept) -> nn.Module:
        """A copy of the network in which only some groups are left."""

    def explain_unreachable(self) -> str:
        """The reasons why nothing more can be removed."""

    def granularity(self) -> str:
        """The noun of the nearest possible choices."""

    def hint(self) -> str:
        """A way to come nearer to the target; empty if there is none."""


@dataclass(frozen=True)
class _Measured:
    """A limit, and the cost after a cut.

    Attributes:
        target: target that sets the limit.
        limit: largest allowed cost.
        predicted: predicted cost.
        found: measured cost.
    """

    target: Target
    limit: float
    predicted: float
    found: float

    @property
    def most(self) -> float:
        """The largest measured cost that keeps the limit: repeated latencies differ, counts do not."""
        return self.limit * (1 + _NEAR) if self.target.name == "milliseconds" else self.limit

    @property
    def holds(self) -> bool:
        """Whether the limit is kept."""
        return self.found <= self.most

    @property
    def distance(self) -> float:
        """The relative distance below the limit; negative above it."""
        return 1 - self.found / self.limit

    @property
    def error(self) -> float:
        """The error of the prediction; 0 if it is that of floating point, or does not matter."""
        error = self.found - self.predicted
        near = self.holds and self.distance <= _NEAR
        return 0.0 if near or abs(error) < 1e-9 * self.limit else error

    def text(self, cost: float) -> str:
        """A cost with its digits."""
        return f"{cost:,.{3 if self.target.name == 'milliseconds' else 0}f}"

    @property
    def allowed(self) -> str:
        """The limit with its noun."""
        return f"{self.text(self.limit)} {self.target.noun}"


@dataclass(frozen=True)
class _Cut:
    """A cut and its measurements.

    Attributes:
        network: network after the cut.
        kept: groups that are left.
        sizes: the cost of each target.
        latency: latency before and after; None if it was not measured.
    """

    network: nn.Module
    kept: Kept
    sizes: tuple[_Measured, ...]
    latency: Comparison | None

    @property
    def badness(self) -> tuple[bool, float]:
        """Whether a limit is missed, and the distance to all limits: smaller is better."""
        missed = not all(size.holds for size in self.sizes)
        return missed, sum(abs(size.distance) for size in self.sizes)


MEASURES: dict[str, Callable[[nn.Module, Example, Deployment | None], float]] = {
    "keep_macs": lambda network, example, deployment: count_macs(network, example),
    "keep_parameters": lambda network, example, deployment: count_parameters(network),
    "bytes": lambda network, example, deployment: file_bytes(
        network, deployment or Deployment.usual(example)
    ),
    "milliseconds": lambda network, example, deployment: (
        _compare(network, network, example, deployment).parent
    ),
}


def _compare(
    parent: nn.Module, child: nn.Module, example: Example, deployment: Deployment | None
) -> Comparison:
    """The latency of two networks in their deployed files."""
    return compare_network_latency(parent, child, deployment or Deployment.usual(example))


def prune_to_target(
    prunable: Prunable, spec: PruneSpec, losses: Losses | None, base: Size
) -> tuple[nn.Module, Kept]:
    """Cut a network so that it reaches all targets.

    The budget chooses groups by predicted costs. If a measured cost misses its limit, the limit of
    the next choice is corrected by the error of the prediction, at most three times.

    Args:
        prunable: the network and its groups.
        spec: the request.
        losses: yields the loss of each training batch, if there are data.
        base: size to which fractions refer.

    Returns:
        The cut network, and the kept groups.

    Raises:
        BadInput: if a target is out of reach.

    Example:
        Limit 100, predicted 98, found 103: the next choice is made for a limit of 95.
    """
    limits = [target.limit(base) for target in spec.targets]
    problem = _problem(prunable, spec, losses, limits)
    tries: list[_Cut] = []
    for _ in range(_TRIES):
        kept = BUDGETS[spec.budget](problem)
        if any((kept == former.kept).all() for former in tries):
            break
        last = _cut(prunable, spec, kept, problem, limits)
        tries.append(last)
        errors = [size.error for size in last.sizes]
        if not any(errors):
            break
        corrected = [
            replace(one, most=limit - error)
            for one, limit, error in zip(problem.limits, limits, errors, strict=True)
        ]
        problem = replace(problem, limits=tuple(corrected))
    best = min(tries, key=lambda one: one.badness)
    _report(prunable, best)
    return best.network, best.kept


def _problem(
    prunable: Prunable, spec: PruneSpec, losses: Losses | None, limits: Sequence[float]
) -> Problem:
    """The problem that the budget solves."""
    loss = _loss(prunable, losses, _BATCHES[spec.importance.data]) if losses else None
    of_targets = [
        _limit(prunable, spec, target, most)
        for target, most in zip(spec.targets, limits, strict=True)
    ]
    return Problem(prunable.count, prunable.layers, tuple(of_targets), spec.align, loss)


def _limit(prunable: Prunable, spec: PruneSpec, target: Target, most: float) -> Limit:
    """The limit of a target: what it limits, and what the budget saves."""

    def predicted(name: str) -> Cost:
        whole = MEASURES[name](prunable.network, prunable.example, prunable.deployment)
        return prunable.cost(name, whole)

    cost = predicted(target.name)
    if spec.budget == "latency":
        saved = cost if target.name == "milliseconds" else predicted("milliseconds")
    else:
        saved = prunable.saved(target.name, cost)
    return Limit(cost, most, saved)


def _cut(
    prunable: Prunable, spec: PruneSpec, kept: Kept, problem: Problem, limits: Sequence[float]
) -> _Cut:
    """Cut the network and measure it."""
    network = prunable.cut(kept)
    latency = None
    if spec.is_timed:
        latency = _compare(prunable.network, network, prunable.example, prunable.deployment)
    sizes = []
    for target, limit, one in zip(spec.targets, limits, problem.limits, strict=True):
        if target.name == "milliseconds" and latency:
            found = latency.child
        else:
            found = MEASURES[target.name](network, prunable.example, prunable.deployment)
        sizes.append(_Measured(target, limit, one.cost(kept), found))
    return _Cut(network, kept, tuple(sizes), latency)


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


def _report(prunable: Prunable, cut: _Cut) -> None:
    """Refuse an unreachable target; warn of targets missed by 2 %, and of a slower network."""
    closest = min(cut.sizes, key=lambda size: abs(size.distance))
    missed = next((size for size in cut.sizes if not size.holds), None)
    if missed and missed.predicted > missed.limit:
        raise BadInput(
            f"Expected at most {missed.allowed} after pruning; found {missed.text(missed.found)}, "
            f"where {prunable.explain_unreachable()}."
        )
    if missed:
        warn(
            f"Expected at most {missed.allowed} after pruning; found {missed.text(missed.found)}, "
            f"where {missed.text(missed.predicted)} were predicted."
        )
    elif cut.kept.all():
        warn(
            f"Pruning removed nothing: {closest.text(closest.found)} of the allowed "
            f"{closest.allowed} are there."
        )
    elif closest.distance > _NEAR:
        warn(
            f"Pruning left {closest.text(closest.found)} of the allowed {closest.allowed}: the "
            f"nearest {prunable.granularity()} are {100 * closest.distance:.1f} % below."
            f"{prunable.hint()}"
        )
    _report_slower(cut)


def _report_slower(cut: _Cut) -> None:
    if cut.latency and cut.latency.slower and not cut.kept.all():
        warn(
            f"Expected a network that is not slower after pruning; found {cut.latency.child:.3f} "
            f"milliseconds at batch 1, and {cut.latency.parent:.3f} before."
        )
