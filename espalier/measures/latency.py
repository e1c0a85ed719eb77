"""Latency, measured side by side."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Run = Callable[[np.ndarray], object]

_FEWEST, _MOST = 5, 300  # rounds of a comparison
_QUIET = 0.25  # the quantile of the times that stands for an undisturbed call


def interleaved(runs: Mapping[str, Run], batch: np.ndarray, rounds: int) -> dict[str, Sequence[float]]:
    """Time several models on one batch in turn, round after round, so that the machine's moods meet all alike.

    Args:
        runs: What to call with the batch, by name.
        batch: Images (N, C, H, W) uint8.
        rounds: How often each is timed, after two calls that are not.

    Returns:
        Seconds of each call, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(-2, rounds):
        for name in names if turn % 2 else reversed(names):
            started = time.perf_counter()
            runs[name](batch)
            if turn >= 0:
                times[name].append(time.perf_counter() - started)
    return dict(times)


def median_ratio(times: Sequence[float], reference: Sequence[float]) -> float:
    """How many times as fast as the reference: the median over rounds of the ratio within a round."""
    return statistics.median(theirs / ours for ours, theirs in zip(times, reference, strict=True))


@dataclass(frozen=True)
class Comparison:
    """How two models compare.

    Attributes:
        parent: Milliseconds of a call of the one.
        child: Milliseconds of a call of the other.
        speed: How many times as fast as the parent the child is.
    """

    parent: float
    child: float
    speed: float

    @property
    def slower(self) -> bool:
        """Whether the child is slower by more than what two measurements of one model differ by."""
        return self.speed < 0.97


def compare_latency(parent: Run, child: Run, batch: np.ndarray, seconds: float = 2.0) -> Comparison | None:
    """Time two models on one batch in turn.

    Args:
        parent: The one.
        child: The other.
        batch: Images (N, C, H, W) uint8.
        seconds: How long it may take.

    Returns:
        The comparison; none if not even five rounds fit into the time.
    """
    runs = {"parent": parent, "child": child}
    started = time.perf_counter()
    first = interleaved(runs, batch, 1)
    spent, once = time.perf_counter() - started, sum(map(sum, first.values()))
    rounds = min(_MOST, int((seconds - spent) / once) - 2)
    if rounds < _FEWEST:
        return None
    times = interleaved(runs, batch, rounds)
    parent_ms, child_ms = (1e3 * float(np.quantile(times[name], _QUIET)) for name in runs)
    return Comparison(parent_ms, child_ms, median_ratio(times["child"], times["parent"]))
