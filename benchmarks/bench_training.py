"""Distillation beside the loops that a user would write: seconds and memory, in turn, on one machine.

    python benchmarks/bench_training.py [--rounds 3] [--write]

`espalier.upkeep.training_speed` has the ways. A tree is one student and three recoveries of as many epochs: the bank is
empty for the first of them, and full for the others. Processors that train in bfloat16 have a result of their own.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
from pathlib import Path

from committed import conditions, show

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from espalier.training.device import computes_bfloat16
from espalier.upkeep.training_speed import EMPTY, FULL, IN_MEMORY, PLAIN, DistillationSpeed

IMAGES, RECOVERIES = 1280, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    measured = conditions(f"python benchmarks/bench_training.py --rounds {given.rounds} --write")
    memory = {way: peak_of(way) for way in (PLAIN, IN_MEMORY, EMPTY)}
    with tempfile.TemporaryDirectory() as folder:
        seconds = DistillationSpeed(Path(folder), IMAGES).seconds(given.rounds)
    tree = (seconds[EMPTY] + RECOVERIES * seconds[FULL]) / (1 + RECOVERIES)
    result = measured | {
        "threads": 1,
        "images": IMAGES,
        "seconds_per_epoch": {way: round(taken, 2) for way, taken in seconds.items()},
        "memory_of_an_epoch_mib": memory,
        "speed": {
            "empty bank over in memory": round(seconds[IN_MEMORY] / seconds[EMPTY], 2),
            "full bank over in memory": round(seconds[IN_MEMORY] / seconds[FULL], 2),
            "tree over plain": round(seconds[PLAIN] / tree, 2),
            "tree over in memory": round(seconds[IN_MEMORY] / tree, 2),
        },
    }
    precision = "bfloat16" if computes_bfloat16(torch.device("cpu")) else "float32"
    show(f"training/{precision}", result, write=given.write)


def peak_of(way: str) -> int:
    """MiB that an epoch adds to the memory of a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (way,))


def _peak(way: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        speed = DistillationSpeed(Path(folder), IMAGES)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        speed.ways[way]()
    return round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


if __name__ == "__main__":
    main()
