"""Comparison of the latency of a model with that of its parent."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from espalier.measures.sittings import Run, in_sittings

_FEWEST, _MOST, _SITTINGS = 5, 300, 10
_ALIKE = 0.97  # ratio: two measurements of one model may differ by this much


@dataclass(frozen=True)
class Comparison:
    """The latency of two models, timed in turn.

    Attributes:
        parent: milliseconds of a call of the parent.
        child: milliseconds of a call of the child.
    """

    parent: float
    child: float

    @property
    def speed(self) -> float:
        """Speed of the child as a multiple of the parent's."""
        return self.parent / self.child

    @property
    def slower(self) -> bool:
        """Whether the child is slower by more than the noise of a measurement."""
        return self.speed < _ALIKE


def compare_latency(
    opened: Callable[[], Mapping[str, Run]],
    batch: np.ndarray,
    seconds: float = 2.0,
    *,
    patient: bool = False,
) -> Comparison | None:
    """Time two models that run on the calling thread, in turn and in several sittings.

    Args:
        opened: opens the models and returns a timed call for the names `parent` and `child`.
        batch: stored inputs (N, ...).
        seconds: approximate time limit.
        patient: whether at least five rounds are measured even beyond the time limit.

    Returns:
        The medians, without the time of other processes. None if not even five rounds fit.
    """
    started = time.perf_counter()
    first = in_sittings(opened, {len(batch): batch}, {len(batch): 1})[len(batch)]
    once = sum(float(times.wall.sum()) for times in first.values())
    to_open = (
        time.perf_counter() - started - 2 * once
    )  # with the first call of a sitting; the second was not timed
    rounds = min(_MOST, int((seconds - _SITTINGS * to_open) / (2 * once)))
    if rounds < _FEWEST and not patient:
        return None
    times = in_sittings(opened, {len(batch): batch}, {len(batch): max(rounds, _FEWEST)}, _SITTINGS)[
        len(batch)
    ]
    parent, child = (
        1e3 * float(np.median(times[name].comparable(alone=True))) for name in ("parent", "child")
    )
    return Comparison(parent, child)
