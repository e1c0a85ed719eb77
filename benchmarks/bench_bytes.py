"""How few bytes suffice for MNIST when the shape is free: whole packed files against the error of what they hold.

    python benchmarks/bench_bytes.py MNIST WORK [--write]

A wide network teaches two narrow ones of plain convolutions, whose batch norms are folded; then each kilobyte gets an
ever higher price. Images are turned by up to 12 degrees, scaled by up to a tenth and shifted by up to two pixels.
Models are kept in WORK, as those of `bench_lenet.py`. For each bound of bytes the answer is the point within it with
the lowest error on validation; test images judge every point, and choose none.
"""

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from bench_lenet import CLASSES, LABELS, SEED, SHAPE, Evaluator, Point, cheapened
from committed import ROOT, conditions, place_table, read, show, source
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.coding import pack, unpack
from espalier.distillation.objectives import from_labels
from espalier.errors import Notice
from espalier.folding import fold_batch_norms
from espalier.inputs.image import ImageAugmentations
from espalier.models import build
from espalier.seeds import generator, seed_all
from espalier.training.loss_inputs import Objective
from espalier.training.recipe import Recipe

PAGE = ROOT / "docs" / "lenet.md"
Widths = tuple[tuple[int, ...], ...]
TEACHER_WIDTHS: Widths = ((16, 16), (32, 32), (64, 64))
TEACHER_EPOCHS, STUDENT_EPOCHS, VIEWS = 16, 24, 24
# widths of a student, and the prices that it is made cheaper at, one after another
LINES: dict[str, tuple[Widths, tuple[Point, ...]]] = {
    "student": (
        ((8, 12), (16, 16), (20, 24)),
        (Point(0.002, 15), Point(0.006, 12), Point(0.015, 15), Point(0.04, 12), Point(0.1, 20)),
    ),
    "narrow": (
        ((6, 8), (10, 12), (12, 14)),
        (Point(0.01, 12), Point(0.03, 14), Point(0.06, 20), Point(0.15, 25), Point(0.2, 15)),
    ),
}
DEGREES, SCALE = 12.0, 0.1


@dataclass(frozen=True)
class Warps(ImageAugmentations):
    """Views that are turned and scaled as well."""

    @property
    def key(self) -> list[float]:
        """Everything that determines the pixels of a view."""
        return [*super().key, DEGREES, SCALE]

    def apply(self, inputs: Tensor, index: Tensor, view: int) -> Tensor:
        """One view of images (N, 1, H, W) uint8."""
        shifted = super().apply(inputs, index, view)
        turns = _turns(self, view % self.count)[index]
        grid = F.affine_grid(turns, list(shifted.shape), align_corners=False)
        warped = F.grid_sample(shifted.float(), grid, align_corners=False)
        return warped.round().to(torch.uint8)


@lru_cache(maxsize=2)
def _turns(views: Warps, view: int) -> Tensor:
    """The affine maps (examples, 2, 3) of a view."""
    source = generator(views.seed, "turns", view)
    angle, scale = torch.rand(2, views.examples, generator=source) * 2 - 1
    angle, scale = torch.deg2rad(DEGREES * angle), 1 + SCALE * scale
    zero = torch.zeros_like(angle)
    rows = (
        (scale * angle.cos(), -scale * angle.sin(), zero),
        (scale * angle.sin(), scale * angle.cos(), zero),
    )
    return torch.stack([torch.stack(row, 1) for row in rows], 1)


class Bench(Evaluator):
    """The data, with warped views."""

    teacher = "teacher"

    def views(self, count: int) -> ImageAugmentations:
        """Turned, scaled and shifted."""
        return Warps(len(self.splits["train"]), 2, False, SEED, count)

    def trained(self, name: str, widths: Widths, objective: Objective, recipe: Recipe) -> nn.Module:
        """A new network, trained."""
        seed_all(SEED, "weights", name)
        arguments = {"widths": [list(stage) for stage in widths]}
        network = build("espalier:cnn", classes=CLASSES, shape=SHAPE, arguments=arguments)
        self.train(network, objective, recipe, name)
        return network


def folded(network: nn.Module, widths: Widths) -> nn.Module:
    """The network without norms, as its factory builds one: the packed file needs no list of what was removed."""
    arguments = {"widths": [list(stage) for stage in widths], "norms": False}
    plain = build("espalier:cnn", classes=CLASSES, shape=SHAPE, arguments=arguments)
    plain.load_state_dict(fold_batch_norms(network.cpu(), torch.zeros(2, *SHAPE)).state_dict())
    return plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mnist", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore", Notice)
    measured = conditions("python benchmarks/bench_bytes.py MNIST WORK --write")
    bench = Bench(given.mnist, given.work)
    teacher = replace(LABELS, epochs=TEACHER_EPOCHS)
    whole = bench.cached(
        "teacher", lambda: bench.trained("teacher", TEACHER_WIDTHS, from_labels(), teacher)
    )
    rows = [errors(bench, "teacher", whole, TEACHER_EPOCHS)]
    for name, (widths, points) in LINES.items():
        rows += line(bench, name, widths, points)
    show("bytes", measured | {"points": rows}, write=given.write)
    if given.write:
        place_table("bytes", table(), PAGE)


def line(
    bench: Bench, name: str, widths: Widths, points: tuple[Point, ...]
) -> Iterator[dict[str, Any]]:
    """The rows of a student: as it was taught, and at each price."""
    recipe = replace(LABELS, epochs=STUDENT_EPOCHS, views=VIEWS)
    student = bench.cached(name, lambda: bench.trained(name, widths, bench.taught(), recipe))
    yield errors(bench, name, student, STUDENT_EPOCHS)
    network = folded(student, widths)
    for point in points:
        priced = f"{name}-{point.rate}"
        network = bench.cached(priced, lambda: cheapened(bench, network, point, priced))  # noqa: B023
        yield errors(bench, priced, network, point.epochs)


def table() -> str:
    """The committed result in Markdown."""
    record = read("bytes")
    lines = [
        "| network | epochs | whole file, bytes | error on validation | error on test | nonzero elements | widths |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in record["points"]:
        name = row["name"].replace("-", ", price ")
        widths = "-".join(map(str, row["widths"]))
        errors = f"{row['validation']:.2f} % | {row['test']:.2f} %"
        lines.append(
            f"| {name} | {row['epochs']} | {row['bytes']:,} | {errors} | {row['nonzero']:,} | {widths} |"
        )
    return "\n".join([*lines, "", source(record)]) + "\n"


def errors(bench: Bench, name: str, network: nn.Module, epochs: int) -> dict[str, Any]:
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


if __name__ == "__main__":
    main()
