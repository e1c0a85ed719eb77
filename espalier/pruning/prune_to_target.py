"""Reaching a target: a budget chooses, the cut is measured, and if it was foreseen wrongly the budget chooses anew."""

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
from espalier.pruning.budgets import BUDGETS, Layer, Problem
from espalier.pruning.budgets.problem import Kept
from espalier.pruning.costs import Cost
from espalier.pruning.deployment import file_bytes, one_image, race
from espalier.pruning.scores import SCORES, Losses
from espalier.pruning.target import Size, Target
from espalier.pruning.trace import Example, sizes

_NEAR = 0.02  # of the limit: what comes nearer is not told
_TRIES = 4
_BATCHES = {
    "": 2,
    "batches": 2,
    "examples": 256,
}  # on which a loss is measured: it is asked for some hundred times


@dataclass(frozen=True)
class Ask:
    """What is asked of a cut.

    Attributes:
        target: What it should reach.
        score: Which groups matter, a key of `SCORES`.
        budget: How much goes where, a key of `BUDGETS`.
        align: Widths stay multiples of this where they are.
        losses: Yields the loss of each training batch, if there are data.
        base: What fractions are of.
        keep: Names of layers whose outputs stay.
        n: How many of every `m` weights stay, for `n_of_m`.
        m: How many weights are a group.
    """

    target: Target
    score: str
    budget: str
    align: int
    losses: Losses | None
    base: Size
    keep: tuple[str, ...] = ()
    n: int = 2
    m: int = 4


class Subject(Protocol):
    """A network, and what of it can be removed."""

    @property
    def network(self) -> nn.Module:
        """The whole of it."""

    @property
    def example(self) -> Example:
        """Images (N, C, H, W), or all of the inputs."""

    @property
    def count(self) -> int:
        """How many parts can be removed."""

    @property
    def layers(self) -> Sequence[Layer]:
        """What may go, in which order."""

    def cost(self, target: str, whole: float) -> Cost:
        """A cost of what is kept, of a network that as a whole costs so much."""

    def cut(self, kept: Kept) -> nn.Module:
        """A copy with only some parts left."""

    def stuck(self) -> str:
        """Why no more can go."""

    def nearest(self) -> str:
        """What can be chosen among."""

    def advice(self) -> str:
        """What comes nearer to a target, if something does."""


@dataclass(frozen=True)
class _Reached:
    """A cut, and what was measured of it."""

    network: nn.Module
    kept: Kept
    found: float
    foreseen: float
    speed: Comparison | None


MEASURES: dict[str, Callable[[nn.Module, Example], float]] = {
    "keep_macs": lambda network, example: count_macs(network, sizes(example)),
    "keep_parameters": lambda network, example: count_parameters(network),
    "bytes": lambda network, example: file_bytes(network, one_image(example)),
    "milliseconds": lambda network, example: race(network, network, one_image(example)).parent,
}


def reach(subject: Subject, ask: Ask) -> tuple[nn.Module, Kept]:
    """Cut a network so that it reaches a target.

    Returns:
        The cut network, and what is kept.

    Raises:
        BadInput: If the target is out of reach.
    """
    limit, before = (
        ask.target.limit(ask.base),
        MEASURES[ask.target.name](subject.network, subject.example),
    )
    cost = subject.cost(ask.target.name, before)
    time = loss = None
    if ask.budget == "latency":
        timed = ask.target.name == "milliseconds"
        whole = before if timed else MEASURES["milliseconds"](subject.network, subject.example)
        time = cost if timed else subject.cost("milliseconds", whole)
    if ask.losses:
        loss = _loss(subject, ask.losses, _BATCHES[SCORES[ask.score].data])
    problem = Problem(subject.count, subject.layers, cost, limit, ask.align, time, loss)
    tries: list[_Reached] = []
    for _ in range(_TRIES):
        kept = BUDGETS[ask.budget](problem)
        if any((kept == former.kept).all() for former in tries):
            break
        last = _cut(subject, ask, kept, cost(kept))
        tries.append(last)
        wrong = last.found - last.foreseen
        if (1 - _NEAR) * limit <= last.found <= _most(ask, limit) or abs(wrong) < 1e-9 * limit:
            break
        problem = replace(problem, most=limit - wrong)
    best = min(tries, key=lambda one: (one.found > _most(ask, limit), abs(one.found - limit)))
    _tell(subject, ask, best, before=before, limit=limit)
    return best.network, best.kept


def below(subject: Subject, ask: Ask) -> tuple[nn.Module, Kept]:
    """Let portions go of which everything scores below a threshold, which is the target.

    Returns:
        The cut network, and what is kept.
    """
    kept = np.ones(subject.count, bool)
    for layer in subject.layers:
        for portion in layer.portions:
            if portion.highest >= ask.target.value:
                break
            kept[portion.members] = False
    if kept.all():
        _warn(
            f"Pruning removed nothing: no portion of a layer lies below {ask.target.value:g} as a whole."
        )
    return subject.cut(kept), kept


def _most(ask: Ask, limit: float) -> float:
    """What may be found: two measurements of a time differ, other figures do not."""
    return limit * (1 + _NEAR) if ask.target.name == "milliseconds" else limit


def _cut(subject: Subject, ask: Ask, kept: Kept, foreseen: float) -> _Reached:
    network = subject.cut(kept)
    timed = ask.budget == "latency" or ask.target.name == "milliseconds"
    speed = race(subject.network, network, one_image(subject.example)) if timed else None
    if speed and ask.target.name == "milliseconds":
        return _Reached(network, kept, speed.child, foreseen, speed)
    return _Reached(
        network, kept, MEASURES[ask.target.name](network, subject.example), foreseen, speed
    )


def _loss(subject: Subject, losses: Losses, batches: int) -> Callable[[Kept], float]:
    """The mean loss over the first batches of what a choice leaves."""
    known: dict[bytes, float] = {}

    @torch.no_grad()
    def loss(kept: Kept) -> float:
        key = kept.tobytes()
        if key not in known:
            network = subject.network if kept.all() else subject.cut(kept)
            known[key] = float(np.mean([float(one) for one in islice(losses(network), batches)]))
        return known[key]

    return loss


def _tell(subject: Subject, ask: Ask, reached: _Reached, *, before: float, limit: float) -> None:
    """Refuse a target that is out of reach, and tell of one that is missed by more than 2 %, or that made it slower."""
    noun = ask.target.noun
    digits = 3 if noun == "milliseconds" else 0
    allowed, found, foreseen = (
        f"{figure:,.{digits}f}" for figure in (limit, reached.found, reached.foreseen)
    )
    if reached.found > _most(ask, limit) and reached.foreseen > limit:
        raise BadInput(
            f"Pruning should leave at most {allowed} {noun}. Found {found} when {subject.stuck()}."
        )
    if reached.found > _most(ask, limit):
        _warn(
            f"Pruning should leave at most {allowed} {noun}. Found {found}, where {foreseen} were foreseen."
        )
    elif reached.kept.all():
        _warn(
            f"Pruning removed nothing: {found} of {allowed} {noun} are there, and no more are allowed."
        )
    elif reached.found < (1 - _NEAR) * limit:
        below = 100 * (1 - reached.found / limit)
        _warn(
            f"Pruning left {found} {noun} where {allowed} were allowed: the nearest {subject.nearest()} {below:.1f} % "
            f"below.{subject.advice()}"
        )
    if reached.speed and reached.speed.slower and not reached.kept.all():
        _warn(
            f"Pruning should not make a network slower. Found {reached.speed.child:.3f} milliseconds at batch 1, and "
            f"{reached.speed.parent:.3f} before."
        )


def _warn(text: str) -> None:
    warnings.warn(text, Notice, stacklevel=6)
