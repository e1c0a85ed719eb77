"""Decoding on the fly beside pixels in memory: images a second, and memory.

    python benchmarks/bench_decoding.py [--write]

5,000 parts of the two photographs that scikit-learn ships, JPEGs of 160 to 420 pixels a side, are
prepared both ways at 128 pixels. Each way reads an epoch, and trains a MobileNet V3 for some steps,
in a process of its own; the ways take turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from committed import conditions, show
from PIL import Image
from PIL import __version__ as pillow
from torch import nn
from torch.utils.data import DataLoader

from espalier.data.encoded import EncodedSplit
from espalier.data.names import TRAIN
from espalier.data.prepare import prepare
from espalier.data.prepared import open_encoded, read_dataset, read_split
from espalier.models import build
from espalier.settings.data import DataSettings
from espalier.settings.images import ImagePolicy
from espalier.training.batches import Batch, Examples, OnTheFly, Resident, Streamed

PHOTOS, SIDES, SIZE, BATCH = 5000, (160, 420), 128, 64
ROUNDS, STEPS = 3, 10
CPU, SEED, THREADS = torch.device("cpu"), 0, 2


class Items(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    """Crops as items, for worker processes."""

    def __init__(self, split: EncodedSplit) -> None:
        self.split = split

    def __len__(self) -> int:
        """Number of images."""
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.from_numpy(np.ascontiguousarray(self.split.read(index, 0))), index


class Processes:
    """The same crops from PyTorch's worker processes, which live over all epochs."""

    def __init__(self, split: EncodedSplit) -> None:
        self.targets = split.targets
        self.groups: list[list[int]] = []
        self.loader = DataLoader(
            Items(split), batch_sampler=self.groups, num_workers=2, persistent_workers=True
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.targets)

    def batches(self, groups: list[torch.Tensor], view: int | None = None) -> Iterator[Batch]:
        """One batch for each group of indices, always of view 0."""
        del view
        self.groups[:] = [group.tolist() for group in groups]
        for inputs, index in self.loader:
            yield Batch(index, inputs, self.targets[index])


def on_the_fly(folder: Path, threads: int) -> OnTheFly:
    """The split, decoded by some threads."""
    split = open_encoded(folder, TRAIN, SEED)
    return OnTheFly(split, read_dataset(folder).zeros(1), CPU, threads)


# the folder of the data, how to open it, and the view
WAYS: dict[str, tuple[str, Callable[[Path], Examples], int | None]] = {
    "in memory": ("ahead", lambda folder: Resident(read_split(folder, TRAIN), CPU), 0),
    "streamed": ("ahead", lambda folder: Streamed(read_split(folder, TRAIN), CPU), 0),
    "on the fly, whole": ("on_the_fly", lambda folder: on_the_fly(folder, 2), None),
    "on the fly": ("on_the_fly", lambda folder: on_the_fly(folder, 2), 0),
    "on the fly, 1 thread": ("on_the_fly", lambda folder: on_the_fly(folder, 1), 0),
    "worker processes": ("on_the_fly", lambda folder: Processes(open_encoded(folder, TRAIN, SEED)), 0),
}  # fmt: skip


def make_photos(folder: Path) -> None:
    """Write the photographs, in a folder for each of the two."""
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(SEED)
    for name, pixels in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(PHOTOS // 2):
            height, width = random.integers(*SIDES, 2, endpoint=True)
            top = random.integers(0, pixels.shape[0] - height + 1)
            left = random.integers(0, pixels.shape[1] - width + 1)
            part = Image.fromarray(pixels[top : top + height, left : left + width])
            part.save(folder / name / f"{number}.jpg", quality=90)


class Memory(threading.Thread):
    """The peak memory of this process and its children in MB, above that at the start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peaks = {"RssAnon": 0.0, "RssFile": 0.0}
        self.start_values, self.going = self._now(), True
        self.start()

    def run(self) -> None:
        """Sample until stopped."""
        while self.going:
            for name, value in self._now().items():
                self.peaks[name] = max(self.peaks[name], value - self.start_values[name])
            time.sleep(0.02)

    def stop(self) -> dict[str, int]:
        """The peaks: memory of their own, and mapped files."""
        self.going = False
        self.join()
        return {"own_mb": round(self.peaks["RssAnon"]), "mapped_mb": round(self.peaks["RssFile"])}

    def _now(self) -> dict[str, float]:
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        total = {"RssAnon": 0.0, "RssFile": 0.0}
        for process in [str(os.getpid()), *children]:
            try:
                lines = Path(f"/proc/{process}/status").read_text().splitlines()
            except OSError:  # it has ended
                continue
            for line in lines:
                name, _, value = line.partition(":")
                if name in total:
                    total[name] += int(value.split()[0]) / 1000
        return total


def measure(way: str, folder: Path) -> dict[str, float]:
    """Images a second of reading and of training, and the peak memory of reading."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(SEED)
    kind, opened, view = WAYS[way]
    dataset = read_dataset(folder / kind)
    views = dataset.input.augmentations(
        dataset.facts, examples=dataset.counts[TRAIN], seed=SEED, count=1, active=True
    )
    memory = Memory()
    examples = opened(folder / kind)
    order = torch.randperm(len(examples))
    groups = list(order[: len(order) // BATCH * BATCH].split(BATCH))

    def read(groups: list[torch.Tensor]) -> Iterator[tuple[Batch, torch.Tensor]]:
        for batch in examples.batches(groups, view):
            yield batch, views.apply(batch.inputs, batch.index, 0)

    for _ in read(groups[:4]):  # workers start
        pass
    started = time.perf_counter()
    for _ in read(groups):
        pass
    reading = len(groups) * BATCH / (time.perf_counter() - started)
    peaks = memory.stop()
    network = build("torchvision:mobilenet_v3_small", classes=2, shape=dataset.shape, arguments={})
    optimizer, front = torch.optim.SGD(network.parameters(), 0.01), dataset.front()
    for step, (batch, stored) in enumerate(read(groups[: STEPS + 2])):
        if step == 2:
            started = time.perf_counter()
        loss = nn.functional.cross_entropy(network(front(stored)), batch.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    training = STEPS * BATCH / (time.perf_counter() - started)
    return {"reading": reading, "training": training, **peaks}


def main() -> None:
    """Print a row for each way; with `--write`, write the result file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.way:
        print(json.dumps(measure(given.way, given.folder)))
        return
    measured = conditions("python benchmarks/bench_decoding.py --write")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_photos(folder / "data")
        seconds = {}
        for kind in ("ahead", "on_the_fly"):
            started = time.perf_counter()
            settings = DataSettings(images=ImagePolicy(size=SIZE, decode=kind), seed=SEED)
            prepare(folder / "data", folder / kind, settings, workshop=folder / "work")
            seconds[kind] = round(time.perf_counter() - started, 1)
        rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(ROUNDS):
            for way in WAYS:
                command = [sys.executable, __file__, "--way", way, "--folder", str(folder)]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                rows[way].append(json.loads(out.splitlines()[-1]))
        sizes = {
            kind: round((folder / kind / "train.safetensors").stat().st_size / 1e6, 1)
            for kind in seconds
        }
    record = measured | {
        "pillow": pillow,
        "photos": f"{PHOTOS} JPEGs of {SIDES[0]} to {SIDES[1]} pixels, at {SIZE} pixels, "
        f"batches of {BATCH}, medians of {ROUNDS} rounds",
        "prepare_seconds": seconds,
        "train_mb": sizes,
        "ways": {way: _medians(found) for way, found in rows.items()},
    }
    show("decoding", record, write=given.write)


def _medians(rows: list[dict[str, float]]) -> dict[str, int]:
    return {name: round(statistics.median(row[name] for row in rows)) for name in rows[0]}


if __name__ == "__main__":
    main()
