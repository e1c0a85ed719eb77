"""How to recover after a cut, and whether a cut beats a network of its size from nothing.

    python benchmarks/bench_recovery.py DATA [--sources NAME ...] [--folder FOLDER] [--write]

DATA holds the folders `fashion-mnist` and `cifar10`. One teacher of each data set teaches the students of all seeds, on
the same images; a student of 12 epochs is cut to half its multiply-accumulates, and recovered in the ways of
`RECOVERIES`. Opposed to them stand networks of the same shape with new weights, trained for as many epochs as
parent and recovery together.
FOLDER keeps each result in a line, so that a second call goes on.
"""

import argparse
import copy
import io
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pandas as pd
import torch
from committed import RESULTS, ROOT, conditions, place_table, read, show, source
from PIL import Image
from torch import Tensor, nn

from espalier.data.prepared import Split
from espalier.data.standard import read_idx
from espalier.distillation.bank import Bank
from espalier.distillation.losses import soft_targets
from espalier.distillation.objectives import WeightedSum, from_labels, from_logits
from espalier.distillation.settings import Ramp
from espalier.inputs.image import ImageAugmentations, Normalize
from espalier.measures.macs import count_macs
from espalier.models import build
from espalier.models.resnet import he_initialised
from espalier.pruning import prune
from espalier.pruning.groups import kept_outputs_of
from espalier.pruning.sparse import sparse
from espalier.seeds import seed_all
from espalier.training.batches import Resident, in_order
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.loss_inputs import LossInputs, Objective
from espalier.training.recalibrate import recalibrate
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

SOURCES = ("fashion-mnist", "cifar10")
IMAGES, VALIDATION = 8_000, 2_000
TEACHER = {"depth": 8, "width": 16}
STUDENT = {"depth": 8, "width": 8}
TEACHER_EPOCHS, EPOCHS, SHORT, LONG = 16, 12, 4, 12
VIEWS = EPOCHS + LONG
SEEDS = 3
DEFAULT = "taught less and less"
TRAINED = {"teacher": TEACHER_EPOCHS, "parent": EPOCHS, "short": SHORT, "long": LONG}
PAGE = ROOT / "docs" / "methods.md"
RATE = 0.1
REWOUND = 0.037  # the rate of the parent's schedule four epochs before its end
PROCESSES = join_process_group(Recipe(threads=1))
CPU = PROCESSES.device


@dataclass(frozen=True)
class Recovery:
    """A way to recover.

    Attributes:
        epochs: number of epochs.
        soft: weight of the soft targets; the labels have the rest.
        fades: whether that weight falls to 0 until the end.
        by: whose outputs the soft targets are.
        rate: highest learning rate.
        schedule: schedule of the learning rate.
        steps: multiply-accumulates after each cut, as a fraction of the parent's.
        sparsify: epochs with a growing penalty before the cut, out of `epochs`.
        masked: epochs before the cut, out of `epochs`: before each the channels that a cut would remove are
            set to zero, and may grow back (He et al. 2018, soft filter pruning, section 3.2).
        parent_epochs: epochs of the parent before the cut.
        reconstruct: whether the kept channels take over what the removed ones did.
    """

    epochs: int = SHORT
    soft: float = 0.9
    fades: bool = False
    by: tuple[str, ...] = ("teacher",)
    rate: float = RATE
    schedule: str = "one_cycle"
    steps: tuple[float, ...] = (0.5,)
    sparsify: int = 0
    masked: int = 0
    parent_epochs: int = EPOCHS
    reconstruct: bool = True


RECOVERIES = {
    "taught": Recovery(),
    "taught, without reconstruction": Recovery(reconstruct=False),
    "labels": Recovery(soft=0.0),
    "half taught": Recovery(soft=0.5),
    "taught less and less": Recovery(fades=True),
    "taught, rewound rate": Recovery(rate=REWOUND, schedule="cosine"),
    "taught by the parent": Recovery(by=("parent",)),
    "taught by both": Recovery(by=("teacher", "parent")),
    "in three cuts": Recovery(steps=(0.8, 0.65, 0.5)),
    "penalty before the cut": Recovery(sparsify=2),
    "masks before the cut": Recovery(masked=2),
    "long, taught": Recovery(epochs=LONG),
    "long, labels": Recovery(epochs=LONG, soft=0.0),
    "long, taught less and less": Recovery(epochs=LONG, fades=True),
    "cut after 8 epochs": Recovery(parent_epochs=8, epochs=EPOCHS + SHORT - 8),
    "cut after 4 epochs": Recovery(parent_epochs=4, epochs=EPOCHS + SHORT - 4),
}
# epochs, weight of the soft targets, width (None for the shape of the cut), and whether the weight falls to 0
FROM_NOTHING: dict[str, tuple[int, float, int | None, bool]] = {
    "from nothing, taught": (EPOCHS + SHORT, 0.9, None, False),
    "from nothing, taught less and less": (EPOCHS + SHORT, 0.9, None, True),
    "from nothing, labels": (EPOCHS + SHORT, 0.0, None, False),
    "from nothing, long, taught": (EPOCHS + LONG, 0.9, None, False),
    "from nothing, long, taught less and less": (EPOCHS + LONG, 0.9, None, True),
    "narrower, taught": (EPOCHS + SHORT, 0.9, 6, False),
}


class Data:
    """The splits of a data set, and the views of one seed."""

    def __init__(self, source: Path, name: str, seed: int) -> None:
        train, test = read_images(source, name)
        chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(train.targets)))
        self.train = Resident(part(train, chosen[:IMAGES]), CPU)
        self.shape = tuple(train.inputs.shape[1:])
        pixels = train.inputs[chosen[:IMAGES]].float() / 255
        mean, std = pixels.mean((0, 2, 3)).tolist(), pixels.std((0, 2, 3)).tolist()
        self.front = Normalize(mean, std)
        held_out = part(train, chosen[IMAGES : IMAGES + VALIDATION])
        self.validation = Inference(Resident(held_out, CPU), self.front, 64)
        self.test = Inference(Resident(test, CPU), self.front, 64)
        self.views = ImageAugmentations(IMAGES, self.shape[-1] // 8, True, seed, VIEWS)
        self.example = torch.zeros(2, *self.shape)

    def augment(self, view: int, images: Tensor, index: Tensor) -> Tensor:
        """One view of some images."""
        return self.views.apply(images, index, view)


class Study:
    """One data set and seed: its teacher, parents, and all ways to recover."""

    def __init__(self, data: Data, teacher: nn.Module, folder: Path, seed: int) -> None:
        self.data, self.seed, self.folder = data, seed, folder
        self.banks = {"teacher": self.bank_of("teacher", teacher)}
        self.parents: dict[int, nn.Module] = {}

    def bank_of(self, name: str, network: nn.Module) -> Bank:
        """The outputs of a network to all views."""
        inference = Inference(self.data.train, self.data.front, 64)

        def answer(view: int) -> Tensor:
            return inference.outputs(network, partial(self.data.augment, view))[0]

        return Bank(self.folder / name, answer)

    def objective(
        self, soft: float, by: tuple[str, ...] = ("teacher",), *, fades: bool = False
    ) -> Objective:
        """Soft targets of this weight, and the labels."""
        banks = [self.banks[name] for name in by]
        taught, labels = from_logits(soft_targets, banks, temperature=4), from_labels()
        if fades:
            return WeightedSum([(Ramp(soft, 0), taught), (Ramp(1 - soft, 1), labels)])
        return WeightedSum([(soft, taught), (1 - soft, labels)])

    def train(
        self,
        network: nn.Module,
        objective: Objective,
        epochs: int,
        rate: float = RATE,
        schedule: str = "one_cycle",
    ) -> nn.Module:
        """Train a network in place, and return it."""
        recipe = Recipe(epochs=epochs, learning_rate=rate, schedule=schedule, threads=1)  # type: ignore[arg-type]
        data = self.data
        fit(
            network,
            data.train,
            data.validation,
            objective,
            recipe,
            augmentations=data.views,
            front=data.front,
            processes=PROCESSES,
        )
        return network

    def parent(self, epochs: int) -> nn.Module:
        """The student of so many epochs, before a cut."""
        if epochs not in self.parents:
            seed_all(self.seed, "parent")
            network = build("espalier:resnet", classes=10, shape=self.data.shape, arguments=STUDENT)
            self.parents[epochs] = self.train(network, self.objective(0.9), epochs)
            if epochs == EPOCHS:
                self.banks["parent"] = self.bank_of("parent", self.parents[epochs])
        return self.parents[epochs]

    def cut(self, network: nn.Module, keep: float, *, reconstruct: bool = True) -> nn.Module:
        """A network cut to a fraction of the parent's multiply-accumulates, with its statistics computed anew."""
        smaller = prune(
            network,
            self.data.example,
            keep_macs=keep,
            score="taylor",
            align=1,
            losses=self.losses,
            base=self.parent(EPOCHS),
            reconstruct=reconstruct,
        )
        recalibrate(smaller, self.data.train, self.data.front)
        return smaller

    def losses(self, network: nn.Module) -> Iterator[Tensor]:
        """The losses that the score reads."""
        objective = self.objective(0.9)
        for batch in self.data.train.batches(in_order(2048, 128)):
            inputs = self.data.front(self.data.augment(0, batch.inputs, batch.index))
            yield objective(LossInputs(network(inputs), inputs, batch, view=0, progress=0.0))

    @cached_property
    def right_after(self) -> nn.Module:
        """The parent cut to half, without recovery."""
        return self.cut(self.parent(EPOCHS), 0.5)

    def recover(self, way: Recovery) -> nn.Module:
        """The parent, cut and recovered in a way."""
        network = self.parent(way.parent_epochs)
        self.parent(EPOCHS)
        objective = self.objective(way.soft, way.by, fades=way.fades)
        if way.sparsify:
            network = self.sparsified(network, objective, way.sparsify)
        for _ in range(way.masked):
            network = with_zeros(network, self.cut(network, way.steps[-1]))
            self.train(network, objective, 1, REWOUND, "cosine")
        for keep in way.steps:
            network = self.cut(network, keep, reconstruct=way.reconstruct)
            last = keep == way.steps[-1]
            epochs = way.epochs - way.sparsify - way.masked - (len(way.steps) - 1) if last else 1
            self.train(network, objective, epochs, way.rate, way.schedule)
        return network

    def sparsified(self, network: nn.Module, objective: Objective, epochs: int) -> nn.Module:
        """A copy, trained with a growing penalty on a part of its channels."""
        network = copy.deepcopy(network)
        penalised = sparse(
            objective,
            network.eval(),
            self.data.example,
            penalty="growing",
            strength=1e-3,
            fraction=0.3,
            pattern="channels",
        )
        return self.train(network, penalised, epochs, REWOUND, "cosine")

    def from_nothing(self, epochs: int, soft: float, width: int | None, fades: bool) -> nn.Module:
        """A network with new weights, of the shape of the cut or of a width."""
        seed_all(self.seed, "nothing")
        if width is None:
            network = he_initialised(with_new_weights(self.right_after))
        else:
            arguments = STUDENT | {"width": width}
            network = build(
                "espalier:resnet", classes=10, shape=self.data.shape, arguments=arguments
            )
        return self.train(network, self.objective(soft, fades=fades), epochs)

    def ways(self) -> dict[str, Callable[[], nn.Module]]:
        """Functions that make each network, by name."""
        return {
            "parent": lambda: self.parent(EPOCHS),
            "right after the cut": lambda: self.right_after,
            "right after the cut, without reconstruction": lambda: self.cut(
                self.parent(EPOCHS), 0.5, reconstruct=False
            ),
            **{name: partial(self.recover, way) for name, way in RECOVERIES.items()},
            **{name: partial(self.from_nothing, *way) for name, way in FROM_NOTHING.items()},
        }

    def measure(self, network: nn.Module) -> dict[str, float]:
        """Accuracy in percent, and multiply-accumulates."""
        return {
            "validation": 100 * self.data.validation.loss_and_score(network)[1],
            "test": 100 * self.data.test.loss_and_score(network)[1],
            "macs": count_macs(network, self.data.example),
        }


@torch.no_grad()
def with_zeros(network: nn.Module, smaller: nn.Module) -> nn.Module:
    """A copy in which the filters are zero that a cut of it has removed."""
    copied, kept_outputs = copy.deepcopy(network), kept_outputs_of(smaller)
    assert kept_outputs is not None
    for name, kept in kept_outputs.kept.items():
        removed = torch.ones(kept_outputs.outputs[name], dtype=torch.bool)
        removed[list(kept)] = False
        copied.get_parameter(f"{name}.weight")[removed] = 0.0
    return copied


def with_new_weights(network: nn.Module) -> nn.Module:
    fresh = copy.deepcopy(network)
    for module in fresh.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d)):
            module.reset_parameters()
    return fresh


def read_images(source: Path, name: str) -> tuple[Split, Split]:
    """The training and test images of a data set."""
    if name == "cifar10":
        return read_table(source / name / "train.parquet"), read_table(
            source / name / "test.parquet"
        )
    train, test = standard_images(source / name)
    return train, test


def standard_images(folder: Path) -> list[Split]:
    """The training and test images of a data set in idx format."""
    found = read_idx(folder, folder)
    labels = found.examples["label"].to_numpy(np.int64)
    counts = [len(images) for images in found.arrays]
    each = np.split(labels, np.cumsum(counts)[:-1])
    return [
        Split(torch.from_numpy(images.copy()), torch.from_numpy(own.copy()))
        for images, own in zip(found.arrays, each, strict=True)
    ]


def part(split: Split, index: Tensor) -> Split:
    return Split(split.inputs[index], split.targets[index])


def read_table(path: Path) -> Split:
    """The images and labels of a parquet file."""
    table = pd.read_parquet(path)
    files = [io.BytesIO(one["bytes"]) for one in table["image"]]
    images = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
    return Split(pixels, torch.from_numpy(table["label"].to_numpy(np.int64)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--folder", type=Path, help="keeps results, so that a second call goes on")
    parser.add_argument("--sources", nargs="+", default=SOURCES, choices=SOURCES)
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="recovery-"))
    folder.mkdir(parents=True, exist_ok=True)
    for name in given.sources:
        command = f"python benchmarks/bench_recovery.py DATA --sources {name} --write"
        record = conditions(command) | {"images": IMAGES, "epochs": TRAINED}
        for seed in range(SEEDS):
            study(given.data, name, seed, folder)
        show(
            f"recovery/{name}",
            record | {"ways": summary(read_lines(folder, name))},
            write=given.write,
        )
    if given.write:
        place_table("recovery", table(), PAGE)


def study(source: Path, name: str, seed: int, folder: Path) -> None:
    """Measure all ways of one data set and seed that have no line yet."""
    kept = folder / f"{name}.jsonl"
    done = {(line["seed"], line["way"]) for line in read_lines(folder, name)}
    data = Data(source, name, seed)
    teacher = teacher_of(source, name, folder)
    one = Study(data, teacher, folder / f"bank-{name}-{seed}", seed)
    for way, make in {"teacher": lambda: teacher, **one.ways()}.items():
        if (seed, way) in done:
            continue
        started = time.process_time()
        line = {"seed": seed, "way": way, **one.measure(make())}
        with kept.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(name, line, f"{time.process_time() - started:.0f} s", flush=True)


def teacher_of(source: Path, name: str, folder: Path) -> nn.Module:
    """The teacher of all seeds, trained once on the labels."""
    data = Data(source, name, 0)
    seed_all(0, "teacher")
    teacher = build("espalier:resnet", classes=10, shape=data.shape, arguments=TEACHER)
    weights = folder / f"teacher-{name}-0.pt"
    if not weights.exists():
        trained = copy.deepcopy(teacher)
        Study(data, trained, folder / "unused", 0).train(trained, from_labels(), TEACHER_EPOCHS)
        torch.save(trained.state_dict(), weights)
    teacher.load_state_dict(torch.load(weights, weights_only=True))
    return teacher


def read_lines(folder: Path, name: str) -> list[dict[str, Any]]:
    kept = folder / f"{name}.jsonl"
    return [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []


def summary(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy of each way, and its points above the default, by seed."""
    ways = dict.fromkeys(line["way"] for line in lines)
    return {way: row(lines, way) for way in ways}


def row(lines: list[dict[str, Any]], way: str) -> dict[str, Any]:
    own = {line["seed"]: line for line in lines if line["way"] == way}
    reference = {line["seed"]: line for line in lines if line["way"] == DEFAULT}
    gains = [
        round(own[seed]["test"] - reference[seed]["test"], 2) for seed in own if seed in reference
    ]
    return {
        "macs": round(statistics.mean(line["macs"] for line in own.values())),
        "validation": round(statistics.mean(line["validation"] for line in own.values()), 2),
        "test": round(statistics.mean(line["test"] for line in own.values()), 2),
        "above": gains,
    }


def table() -> str:
    """The committed results in Markdown, the best way of the first data set first."""
    names = [name for name in SOURCES if (RESULTS / "recovery" / f"{name}.json").is_file()]
    records = [read(f"recovery/{name}") for name in names]
    heads = [f"{name}, test | against the default, by seed" for name in names]
    rows = [f"| way | epochs | {' | '.join(heads)} |", "|---|--:|" + "--:|---|" * len(names)]
    for way in sorted(records[0]["ways"], key=lambda way: -records[0]["ways"][way]["test"]):
        found = " | ".join(_row_of(record["ways"][way]) for record in records)
        rows.append(f"| {way} | {total_epochs(way)} | {found} |")
    return "\n".join([*rows, "", *map(source, records)]) + "\n"


def _row_of(found: dict[str, Any]) -> str:
    gains = ", ".join(f"{gain:+.2f}" for gain in found["above"])
    return f"{found['test']:.2f} % | {gains}"


def total_epochs(way: str) -> int:
    """The epochs of a network and its parent together."""
    if way in RECOVERIES:
        return RECOVERIES[way].parent_epochs + RECOVERIES[way].epochs
    if way in FROM_NOTHING:
        return FROM_NOTHING[way][0]
    return TEACHER_EPOCHS if way == "teacher" else EPOCHS


if __name__ == "__main__":
    main()
