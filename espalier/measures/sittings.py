"""Latency in several sittings, between which every model is opened anew.

Where a model's memory comes to lie changes its speed by some per cent, for as long as it is open:
rounds in one sitting agree with each other and not with the next evaluation. Only sittings show how
far a figure is to be trusted.

Every call that is timed follows one of the same model that is not. A small model that is called
after another finds the caches full of what that one used, and may take three times as long: what it
was called after, not what it is.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Run = Callable[[np.ndarray], object]
"""What is timed: called with images (N, C, H, W) uint8."""


@dataclass(frozen=True)
class Times:
    """Seconds of the calls of one model, each (sittings, rounds).

    Attributes:
        wall: By the clock on the wall: what a user waits.
        busy: That the calling thread computed: without the time in which another process had its
            processor.
    """

    wall: np.ndarray
    busy: np.ndarray

    def comparable(self, *, alone: bool) -> np.ndarray:
        """What to compare models by: `busy` where the calling thread works alone, for it knows no neighbours.

        Where the system's clock of a thread is coarse, as on Windows, it is `wall`, too.
        """
        fine = time.get_clock_info("thread_time").resolution < 1e-6
        return self.busy if alone and fine else self.wall


def in_sittings(
    opened: Callable[[], Mapping[str, Run]],
    batches: Mapping[int, np.ndarray],
    rounds: Mapping[int, int],
    sittings: int = 20,
) -> dict[int, dict[str, Times]]:
    """Time several models in turn, round after round, so that the machine's moods meet all alike.

    Args:
        opened: Opens the models: what to call with a batch, by name.
        batches: Images (N, C, H, W) uint8, by size.
        rounds: How often each is timed in all sittings together, at least, by size.
        sittings: How often they are opened, at most: no sitting is without a round.

    Returns:
        The times by size and name.
    """
    sittings = min(sittings, *rounds.values())
    taken: dict[int, list[dict[str, np.ndarray]]] = {size: [] for size in batches}
    for _ in range(sittings):
        runs = opened()
        for size, batch in batches.items():
            taken[size].append(_sit(runs, batch, -(-rounds[size] // sittings)))
        del runs  # before the next are opened
    return {
        size: {name: _times([one[name] for one in all_]) for name in all_[0]}
        for size, all_ in taken.items()
    }


def _sit(runs: Mapping[str, Run], batch: np.ndarray, rounds: int) -> dict[str, np.ndarray]:
    times = {name: np.empty((rounds, 2)) for name in runs}
    names = list(runs)
    for run in runs.values():
        run(batch)  # a first call finds memory
    for turn in range(rounds):
        for name in names if turn % 2 else reversed(names):
            runs[name](batch)
            busy, wall = time.thread_time(), time.perf_counter()
            runs[name](batch)
            times[name][turn] = time.perf_counter() - wall, time.thread_time() - busy
    return times


def _times(sittings: list[np.ndarray]) -> Times:
    wall, busy = np.moveaxis(np.stack(sittings), -1, 0)
    return Times(wall, busy)
