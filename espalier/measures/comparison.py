"""Whether a model is faster than the one it is made from."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from espalier.measures.sittings import Run, in_sittings

_FEWEST, _MOST, _SITTINGS = 5, 300, 10
_ALIKE = 0.97  # times as fast: two measurements of one model may differ by this much


@dataclass(frozen=True)
class Comparison:
    """How two models compare.

    Attributes:
        parent: Milliseconds of a call of the one.
        child: Milliseconds of a call of the other.
    """

    parent: float
    child: float

    @property
    def speed(self) -> float:
        """How many times as fast as the parent the child is."""
        return self.parent / self.child

    @property
    def slower(self) -> bool:
        """Whether the child is slower by more than what two measurements of one model differ by."""
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
        opened: Opens the models: what to call with a batch, by the names `parent` and `child`.
        batch: Images (N, C, H, W) uint8.
        seconds: How long it may take, about.
        patient: Whether five rounds are measured even if they take longer.

    Returns:
        The medians, without the time in which other processes had the processor. None if not even five rounds fit.
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
