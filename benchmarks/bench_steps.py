"""A training step in each layout, compiled, and with a second thread, in turn.

    python benchmarks/bench_steps.py [--rounds 5] [--write]

Networks of the digits' and of CIFAR-10's size, batches of 64, SGD with momentum, one thread. Ratios are of medians of
seconds per step, over the way that is used here (`espalier.training.device`). Compiling takes seconds once for each
process: `pays_after_steps` is the number of steps that win them back, null where a compiled step is not faster.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from committed import conditions, place_table, read, show, source

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn

from espalier.models import build
from espalier.training.device import autocast, to_device
from espalier.training.optimizers import optimizer
from espalier.training.recipe import Recipe

ROOT = Path(__file__).resolve().parents[1]
BATCH, STEPS = 64, 10
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet8 of 1x8x8": {"depth": 8, "width": 16, "shape": (1, 8, 8)},
    "resnet20 of 3x32x32": {"depth": 20, "width": 16, "shape": (3, 32, 32)},
}
OURS, CONTIGUOUS, LAST, COMPILED, TWO = (
    "as here",
    "channels first",
    "channels last",
    "compiled",
    "two threads",
)
Step = Callable[[], None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    command = f"python benchmarks/bench_steps.py --rounds {given.rounds} --write"
    result = conditions(command) | {
        "batch": BATCH,
        "networks": {name: measure(given.rounds, **keys) for name, keys in NETWORKS.items()},
    }
    show("steps", result, write=given.write)
    if given.write:
        place_table("steps", table())


def table() -> str:
    """The committed result in Markdown."""
    record = read("steps")
    networks = record["networks"]
    lines = [f"| step of | {' | '.join(networks)} |", f"|---|{'--:|' * len(networks)}"]
    for way in (OURS, CONTIGUOUS, LAST, TWO, COMPILED):
        cells = (
            f"{one['milliseconds'][way]:.2f} ms, {one['ratio'][way]:.2f}x"
            for one in networks.values()
        )
        lines.append(f"| {way} | {' | '.join(cells)} |")
    compiling = (f"{one['compiling_seconds']:.0f} s" for one in networks.values())
    pays = (f"{one['pays_after_steps'] or 'never'}" for one in networks.values())
    lines += [
        f"| compiling, once | {' | '.join(compiling)} |",
        f"| steps that win it back | {' | '.join(pays)} |",
    ]
    return "\n".join([*lines, "", source(record)]) + "\n"


def measure(rounds: int, shape: tuple[int, ...], **arguments: int) -> dict[str, Any]:
    """Milliseconds of a step in each way, and their ratios over the way that is used here."""
    ways = {way: step_of(way, shape, arguments) for way in (OURS, CONTIGUOUS, LAST, TWO, COMPILED)}
    began = time.perf_counter()
    ways[COMPILED]()
    compiling = time.perf_counter() - began
    taken: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(rounds + 1):
        for way, step in ways.items():
            torch.set_num_threads(2 if way == TWO else 1)
            began = time.perf_counter()
            for _ in range(STEPS):
                step()
            if number:  # the first round is not counted
                taken[way].append((time.perf_counter() - began) / STEPS)
    torch.set_num_threads(1)
    seconds = {way: statistics.median(found) for way, found in taken.items()}
    saved = seconds[OURS] - seconds[COMPILED]
    return {
        "milliseconds": {way: round(1000 * one, 2) for way, one in seconds.items()},
        "ratio": {way: round(one / seconds[OURS], 3) for way, one in seconds.items()},
        "compiling_seconds": round(compiling, 1),
        "pays_after_steps": round(compiling / saved) if saved > 0 else None,
    }


def step_of(way: str, shape: tuple[int, ...], arguments: dict[str, int]) -> Step:
    """A training step of a new network."""
    torch.manual_seed(0)
    network = build("espalier:resnet", classes=10, shape=shape, arguments=arguments)
    if way in (OURS, TWO):
        to_device(network, torch.device("cpu"))
    elif way == LAST:
        network.to(memory_format=torch.channels_last)
    images, labels = torch.rand(BATCH, *shape), torch.randint(0, 10, (BATCH,))
    if way == LAST:
        images = images.contiguous(memory_format=torch.channels_last)
    called: Callable[[Tensor], Tensor] = torch.compile(network) if way == COMPILED else network
    stepping = optimizer(network, Recipe())

    def step() -> None:
        stepping.zero_grad()
        with autocast(Recipe(), torch.device("cpu")):
            loss = nn.functional.cross_entropy(called(images), labels)
        loss.backward()
        stepping.step()

    return step


if __name__ == "__main__":
    main()
