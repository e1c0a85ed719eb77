"""Distillation beside the loops that a user would write: seconds and memory, in turn, on one machine.

    python benchmarks/bench_training.py [--rounds 3] [--write]

ResNet-56 teaches ResNet-20 on random images of 32 x 32. `plain` is the loop of most tutorials: a DataLoader, images
augmented one by one, and the teacher asked for each batch. `in memory` is the best loop without a bank: images and
augmentation in batches, channels last. `cold` is ours with an empty bank, `warm` with a full one. A tree is one
student and three recoveries of as many epochs; from the second training on, the bank is full.
"""

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from espalier.data.prepared import Split
from espalier.distillation.bank import Bank
from espalier.distillation.objectives import from_teacher
from espalier.export.onnx import export
from espalier.inputs.image import ImageAugmentations, Normalize
from espalier.measures.device import processor_name
from espalier.models import build
from espalier.runtimes import DEFAULT
from espalier.runtimes.as_network import DeployedNetwork
from espalier.training.batches import Resident
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

RESULT = Path(__file__).parent / "results" / "training.json"
SHAPE, IMAGES, BATCH, TEMPERATURE, WEIGHT = (3, 32, 32), 1280, 128, 4.0, 0.9
RECOVERIES = 3


class Setting:
    """Images, a teacher, and the loops that distil it."""

    def __init__(self) -> None:
        self.recipe = Recipe(epochs=1, batch_size=BATCH, threads=1)
        self.processes = join_process_group(self.recipe)
        random = torch.Generator().manual_seed(0)
        self.pixels = torch.randint(0, 256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=random)
        self.labels = torch.arange(IMAGES) % 10
        self.teacher = network(56).eval()
        self.views = ImageAugmentations(IMAGES, 4, True, 0, 10)
        self.front = Normalize((0.5,) * 3, (0.25,) * 3)

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "teacher.onnx"
            export(self.teacher, file, self.pixels[:2], self.front)
            self.deployed = DEFAULT.open(file.read_bytes())

    def augment(self, view: int, pixels: Tensor, index: Tensor) -> Tensor:
        """One view of some images."""
        return self.views.apply(pixels, index, view)

    def plain(self) -> None:
        """A DataLoader of single images, and the teacher asked for each batch."""
        loader = DataLoader(Images(self.pixels, self.labels), BATCH, shuffle=True)
        distil(self.teacher, network(20), loader)

    def in_memory(self) -> None:
        """Batches of tensors in memory, channels last, and the teacher asked for each batch."""
        groups = torch.randperm(IMAGES).split(BATCH)
        batches = (
            (
                self.front(self.views.apply(self.pixels[index], index, 0)).contiguous(
                    memory_format=torch.channels_last
                ),
                self.labels[index],
            )
            for index in groups
        )
        layout: Any = {"memory_format": torch.channels_last}
        distil(self.teacher.to(**layout), network(20).to(**layout), batches)

    def ours(self, folder: Path) -> None:
        """An epoch of ours, with the bank in a folder."""
        device = self.processes.device
        train = Resident(Split(self.pixels, self.labels), device)
        few = Resident(Split(self.pixels[:128], self.labels[:128]), device)
        asked = Inference(train, nn.Identity())

        def answer(view: int) -> Tensor:
            augment = partial(self.augment, view)
            return asked.outputs(DeployedNetwork(self.deployed), augment)[0]

        bank = Bank(folder, answer)
        fit(
            network(20),
            train,
            Inference(few, self.front),
            from_teacher(bank, temperature=TEMPERATURE, weight=WEIGHT),
            self.recipe,
            augmentations=self.views,
            front=self.front,
            processes=self.processes,
        )

    def cold(self) -> None:
        """An epoch of ours with an empty bank."""
        with tempfile.TemporaryDirectory() as empty:
            self.ours(Path(empty))


class Images(Dataset[tuple[Tensor, int]]):
    """Single images, augmented and normalised as torchvision's transforms do it."""

    def __init__(self, pixels: Tensor, labels: Tensor) -> None:
        self.pixels, self.labels = pixels, labels
        self.transform = v2.Compose(
            [
                v2.RandomCrop(32, padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.pixels[index]), int(self.labels[index])


def network(depth: int) -> nn.Module:
    torch.manual_seed(0)
    return build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": depth})


def distil(teacher: nn.Module, student: nn.Module, batches: Any) -> None:
    """An epoch of a loop that asks the teacher for each batch (Hinton et al. 2015)."""
    settings: Any = {"lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4, "nesterov": True}
    optimizer = torch.optim.SGD(student.parameters(), **settings)
    student.train()
    for images, labels in batches:
        with torch.no_grad():
            answers = teacher(images)
        outputs = student(images)
        soft = functional.kl_div(
            functional.log_softmax(outputs / TEMPERATURE, 1),
            functional.softmax(answers / TEMPERATURE, 1),
            reduction="batchmean",
        )
        hard = functional.cross_entropy(outputs, labels)
        loss = WEIGHT * TEMPERATURE**2 * soft + (1 - WEIGHT) * hard
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    memory = {name: peak_of(name) for name in ("plain", "in_memory", "cold")}
    seconds = measure(Setting(), given.rounds)
    cold, warm = seconds["cold"], seconds["warm"]
    tree = cold + RECOVERIES * warm
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python benchmarks/bench_training.py --rounds {given.rounds} --write",
        "device": processor_name(),
        "versions": {"torch": torch.__version__},
        "threads": 1,
        "load_before": round(load, 2),
        "images": IMAGES,
        "seconds_per_epoch": seconds,
        "peak_memory_above_import_mib": memory,
        "speed": {
            "cold over in memory": round(seconds["in_memory"] / cold, 2),
            "warm over in memory": round(seconds["in_memory"] / warm, 2),
            "tree over plain": round((1 + RECOVERIES) * seconds["plain"] / tree, 2),
            "tree over in memory": round((1 + RECOVERIES) * seconds["in_memory"] / tree, 2),
        },
    }
    print(json.dumps(result, indent=2))
    if given.write:
        RESULT.write_text(json.dumps(result, indent=2) + "\n")


def measure(setting: Setting, rounds: int) -> dict[str, float]:
    """Median seconds of an epoch, by way; the ways take turns."""
    with tempfile.TemporaryDirectory() as full:
        warm = partial(setting.ours, Path(full))
        ways: dict[str, Callable[[], None]] = {
            "plain": setting.plain,
            "in_memory": setting.in_memory,
            "cold": setting.cold,
            "warm": warm,
        }
        taken: dict[str, list[float]] = {name: [] for name in ways}
        warm()
        for _ in range(rounds):
            for name, way in ways.items():
                started = time.perf_counter()
                way()
                taken[name].append(time.perf_counter() - started)
    return {name: round(statistics.median(each), 2) for name, each in taken.items()}


def peak_of(way: str) -> float:
    """MiB that an epoch adds to the memory of a new process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (way,))


def _peak(way: str) -> float:
    setting = Setting()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    getattr(setting, way)()
    return round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


if __name__ == "__main__":
    main()
