"""How small LeNet-300-100 and LeNet-5 pack for MNIST: bytes of the whole file against the error of what it holds.

    python benchmarks/bench_lenet.py MNIST WORK [--lines NAME ...] [--write]

MNIST is a folder with the four files of the data set. Every model is kept in WORK as soon as it is made, and training
goes on from its last checkpoint, so a second call costs only what is missing. 5,001 validation images are seen by no
training; the 10,000 test images judge what was decoded from the packed file, and nothing else.
"""

import argparse
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from committed import RESULTS, ROOT, Record, conditions, place_table, read, show, source
from torch import nn

from espalier.coding import pack, unpack
from espalier.coding.rate import WithRate, reparametrise, round_to_steps
from espalier.data.prepare import prepare
from espalier.data.prepared import read_dataset, read_split
from espalier.data.sources import import_data
from espalier.distillation.bank import Bank
from espalier.distillation.objectives import from_labels, from_teacher
from espalier.errors import BadInput, Notice
from espalier.inputs.image import ImageAugmentations
from espalier.models import build, load, save
from espalier.pruning import prune
from espalier.seeds import seed_all
from espalier.settings.data import DataSettings
from espalier.training.batches import Resident
from espalier.training.checkpoint import Checkpoints
from espalier.training.device import join_process_group, to_device
from espalier.training.engine import fit
from espalier.training.loss_inputs import Objective
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

PAGE = ROOT / "docs" / "lenet.md"
SHAPE, CLASSES, SEED = (1, 28, 28), 10, 0
LABELS = Recipe(
    epochs=20,
    learning_rate=0.05,
    weight_decay=5e-4,
    threads=1,
    views=200,
    precision="float32",
    resident_bytes=2**31,
)
TAUGHT = replace(
    LABELS,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=0.0,
    views=24,
    clip_norm=0.0,
    warmup=0.05,
)


@dataclass(frozen=True)
class Point:
    """A price of a kilobyte in units of the loss, and how long it is paid."""

    rate: float
    epochs: int


@dataclass(frozen=True)
class Line:
    """A network, cut and taught for some epochs, and then made ever cheaper."""

    name: str
    factory: str
    cuts: tuple[dict[str, Any], ...]
    epochs: int
    points: tuple[Point, ...]


LINES = (
    Line(
        "lenet5",
        "lenet5",
        ({"keep_macs": 0.5}, {"keep_parameters": 0.1, "keep": ("conv1",)}),
        5,
        (
            Point(0.001, 10),
            Point(0.005, 18),
            Point(0.012, 12),
            Point(0.025, 12),
            Point(0.05, 15),
            Point(0.08, 20),
            Point(0.11, 20),
        ),
    ),
    Line(
        "narrow_lenet5",
        "lenet5",
        (
            {"keep_macs": 0.5},
            {"keep_parameters": 0.1, "keep": ("conv1",)},
            {"keep_parameters": 0.03, "keep": ("conv1",)},
        ),
        30,
        (
            Point(0.01, 12),
            Point(0.03, 14),
            Point(0.045, 60),
        ),
    ),
    Line(
        "lenet300",
        "lenet300",
        ({"keep_parameters": 0.4},),
        15,
        (Point(0.001, 20), Point(0.004, 15), Point(0.012, 15)),
    ),
)
NAMES = [line.name for line in LINES]


class Evaluator:
    """The data, and what is made of them."""

    teacher = "teacher-lenet5"

    def __init__(self, source: Path, work: Path) -> None:
        self.work, data = work, work / "prepared"
        if not data.exists():
            import_data(
                "mnist", work / "data", source, work / "draft", DataSettings(validation=0.1)
            )
            settings: dict[str, Any] = {
                "validation": 1 / 12,
                "test": 0.2,
                "duplicates": "refuse",
                "split": "exact",
                "crop": 2,
                "flip": False,
            }
            prepare(work / "data", data, **settings, seed=SEED, workshop=work / "draft")
        self.processes = join_process_group(LABELS)
        dataset = read_dataset(data)
        self.front = dataset.front(self.processes.device)
        self.splits = {
            name: Resident(read_split(data, name), self.processes.device) for name in dataset.counts
        }
        self.validation, self.test = (
            Inference(self.splits[name], self.front) for name in ("validation", "test")
        )

    def train(self, network: nn.Module, objective: Objective, recipe: Recipe, name: str) -> None:
        """Train in place; killed and called again, it goes on."""
        fit(
            network,
            self.splits["train"],
            self.validation,
            objective,
            recipe,
            augmentations=self.views(recipe.views),
            front=self.front,
            processes=self.processes,
            checkpoints=Checkpoints(self.work / "checkpoints" / name),
            report=lambda row: print(
                f"  {name} {row['epoch']:2} {row['loss']:.4f} {row['accuracy']:.4f}", flush=True
            ),
        )

    def views(self, count: int) -> ImageAugmentations:
        """Shifted by up to two pixels."""
        return ImageAugmentations(len(self.splits["train"]), 2, False, SEED, count)

    def taught(self) -> Objective:
        """The targets of every other network: the teacher's probabilities for the very view, and the labels."""
        bank = Bank(self.work / f"bank-{self.teacher}", self._answer)
        return from_teacher(bank, temperature=1.0, weight=0.9)

    def _answer(self, view: int) -> torch.Tensor:
        """The teacher's outputs for a view of all training images."""
        views, scoring = self.views(TAUGHT.views), Inference(self.splits["train"], self.front)
        network = to_device(load(self.work / self.teacher), self.processes.device)
        return scoring.outputs(network, lambda images, index: views.apply(images, index, view))[0]

    def cached(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        """The model of that name: read if it is there, else made and kept."""
        if not (self.work / name).exists():
            save(make(), self.work / name)
        return load(self.work / name)

    def error(self, network: nn.Module, split: Inference) -> float:
        """In percent."""
        return 100 * (1 - split.loss_and_score(to_device(network, self.processes.device))[1])


def teacher(bench: Evaluator) -> nn.Module:
    seed_all(SEED, "weights", "lenet5")
    network = build("espalier:lenet5", classes=CLASSES, shape=SHAPE)
    bench.train(network, from_labels(), LABELS, "teacher")
    return network


def student(bench: Evaluator, factory: str) -> nn.Module:
    seed_all(SEED, "weights", factory)
    network = build(f"espalier:{factory}", classes=CLASSES, shape=SHAPE)
    bench.train(network, bench.taught(), replace(LABELS, epochs=25, views=TAUGHT.views), factory)
    return network


def cut(bench: Evaluator, whole: nn.Module, line: Line) -> nn.Module:
    network = whole
    for target in line.cuts:
        network = prune(network, torch.zeros(2, *SHAPE), **target, align=1, base=whole)
    bench.train(network, bench.taught(), replace(TAUGHT, epochs=line.epochs), f"{line.name}-cut")
    return network


def cheapened(bench: Evaluator, network: nn.Module, point: Point, name: str) -> nn.Module:
    names = [each for each, _ in network.named_parameters()]
    reparametrise(network, names)
    objective = WithRate(bench.taught(), network, point.rate)
    bench.train(network, objective, replace(TAUGHT, epochs=point.epochs), name)
    round_to_steps(network)
    return without_the_dead(network)


def without_the_dead(network: nn.Module) -> nn.Module:
    """The network without channels and neurons that lost all their weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)  # that there are none is fine
        try:
            return prune(
                network.cpu(), torch.zeros(2, *SHAPE), score="threshold", below=1e-9, align=1
            )
        except BadInput as error:
            print("  ", error)
            return network


def read_arguments(page: str, names: Sequence[str]) -> argparse.Namespace:
    """The data, the folder of work and the chosen lines; notices of the library are silent from then on."""
    parser = argparse.ArgumentParser(description=page.splitlines()[0])
    parser.add_argument("mnist", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--lines", nargs="+", default=names, choices=names)
    parser.add_argument("--write", action="store_true")
    warnings.simplefilter("ignore", Notice)
    return parser.parse_args()


def main() -> None:
    given = read_arguments(__doc__, NAMES)
    bench = Evaluator(given.mnist, given.work)
    for line in LINES:
        if line.name in given.lines:
            commit("bench_lenet", line.name, points_of(bench, line), write=given.write)
    if given.write:
        place_table("lenet", table(), PAGE)


def commit(benchmark: str, name: str, points: Iterator[Record], *, write: bool) -> None:
    """Measure the points of a line, print them, and commit them if they are to be written."""
    record = conditions(f"python benchmarks/{benchmark}.py MNIST WORK --lines {name} --write")
    record["points"] = list(points)
    show(f"bytes/{name}", record, write=write)


def points_of(bench: Evaluator, line: Line) -> Iterator[Record]:
    """The rows of a line: the network as it is cut, and at each price."""
    whole = bench.cached("teacher-lenet5", lambda: teacher(bench))
    if line.factory != "lenet5":
        whole = bench.cached(line.factory, lambda: student(bench, line.factory))
    network = bench.cached(f"{line.name}-cut", lambda: cut(bench, whole, line))
    yield errors(bench, line.name, network, line.epochs)
    for point in line.points:
        name = f"{line.name}-{point.rate}"
        network = bench.cached(name, lambda: cheapened(bench, network, point, name))  # noqa: B023
        yield errors(bench, name, network, point.epochs)


def errors(bench: Evaluator, name: str, network: nn.Module, epochs: int) -> Record:
    """The size of the packed file, and the errors of what is read from it."""
    file = bench.work / f"{name}.espalier"
    size = pack(network, file)
    decoded = unpack(file)
    row = {
        "name": name,
        "epochs": epochs,
        "bytes": size,
        "validation": round(bench.error(decoded, bench.validation), 2),
        "test": round(bench.error(decoded, bench.test), 2),
        "nonzero": sum(int((value != 0).sum()) for value in decoded.parameters()),
        "widths": [len(value) for value in decoded.parameters() if value.ndim > 1],
    }
    print(row, flush=True)
    return row


def table() -> str:
    """The committed results in Markdown."""
    return table_of(NAMES)


def table_of(names: Iterable[str]) -> str:
    """The committed results of some lines in Markdown."""
    lines = [
        "| network | epochs | whole file, bytes | error on validation | error on test | nonzero elements | widths |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    records = [read(f"bytes/{name}") for name in names if is_measured(name)]
    rows = [_row(row) for record in records for row in record["points"]]
    sources = [source(record) for record in records]
    return "\n".join([*lines, *dict.fromkeys(rows), "", *sources]) + "\n"


def _row(row: Record) -> str:
    name = row["name"].replace("-", ", price ").replace("_", " ")
    widths = "-".join(map(str, row["widths"]))
    errors = f"{row['validation']:.2f} % | {row['test']:.2f} %"
    return f"| {name} | {row['epochs']} | {row['bytes']:,} | {errors} | {row['nonzero']:,} | {widths} |"


def is_measured(name: str) -> bool:
    """Whether a line has a committed result."""
    return (RESULTS / "bytes" / f"{name}.json").is_file()


if __name__ == "__main__":
    main()
