"""Latency, measured side by side."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Run = Callable[[np.ndarray], object]


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
