"""Latency in several sittings: every model is opened again for each sitting.

The addresses of a model's memory change its speed by some per cent for as long as it is open, so
rounds of one sitting agree with each other but not with the next evaluation. The spread over
sittings is the uncertainty of a figure.

Every timed call follows an untimed call of the same model. Without it, a small model would find the
caches filled by the model before it and could take three times as long.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np

SELDOM = 10  # rounds for each round in which a model takes part that is measured seldom
Run = Callable[[np.ndarray], object]
"""A timed call, with stored inputs (N, ...)."""


@dataclass(frozen=True)
class Times:
    """Seconds of the calls of one model, each (sittings, rounds).

    Attributes:
        wall: elapsed time.
        busy: processor time of the calling thread, without the time of other processes on its
            processor.
    """

    wall: np.ndarray
    busy: np.ndarray

    def comparable(self, *, alone: bool) -> np.ndarray:
        """The times by which models are compared.

        `busy` if the calling thread computes alone, since other processes do not change it; else, or
        if the thread's clock is coarse, as on Windows, `wall`.
        """
        fine = time.get_clock_info("thread_time").resolution < 1e-6
        return self.busy if alone and fine else self.wall


def in_sittings(
    opened: Callable[[], Mapping[str, Run]],
    batches: Mapping[int, np.ndarray],
    rounds: Mapping[int, int],
    sittings: int = 20,
    seldom: Collection[str] = (),
) -> dict[int, dict[str, Times]]:
    """Time several models in turn, round after round, so that noise affects all of them equally.

    Args:
        opened: opens the models and returns a timed call for each name.
        batches: stored inputs (N, ...), by batch size.
        rounds: smallest number of timed calls of each model in all sittings together, by batch size.
        sittings: largest number of sittings; each has at least one round.
        seldom: names of models that are timed in rounds 0, 10, 20 ... of each sitting alone (`SELDOM`).

    Returns:
        The times by size and name.
    """
    sittings = min(sittings, *rounds.values())
    taken: dict[int, list[dict[str, np.ndarray]]] = {size: [] for size in batches}
    for _ in range(sittings):
        runs = opened()
        for size, batch in batches.items():
            taken[size].append(_sit(runs, batch, -(-rounds[size] // sittings), seldom))
        del runs  # before the next are opened
    return {
        size: {name: _times([one[name] for one in all_]) for name in all_[0]}
        for size, all_ in taken.items()
    }


def _sit(
    runs: Mapping[str, Run], batch: np.ndarray, rounds: int, seldom: Collection[str]
) -> dict[str, np.ndarray]:
    turns = {name: range(0, rounds, SELDOM if name in seldom else 1) for name in runs}
    times = {name: np.empty((len(turns[name]), 2)) for name in runs}
    for run in runs.values():
        run(batch)  # a first call finds memory
    for turn in range(rounds):
        names = [name for name in runs if turn in turns[name]]
        for name in names if turn % 2 else reversed(names):
            runs[name](batch)
            busy, wall = time.thread_time(), time.perf_counter()
            runs[name](batch)
            taken = time.perf_counter() - wall, time.thread_time() - busy
            times[name][turns[name].index(turn)] = taken
    return times


def _times(sittings: list[np.ndarray]) -> Times:
    wall, busy = np.moveaxis(np.stack(sittings), -1, 0)
    return Times(wall, busy)
