"""How few bytes suffice for MNIST: whole packed files against the error of what they hold.

    python benchmarks/bench_bytes.py MNIST WORK [--lines NAME ...] [--write]

In each line a wide network teaches a narrow one of plain convolutions, whose batch norms are folded; then each kilobyte
gets an ever higher price. Images are turned by up to 12 degrees, scaled by up to a tenth and shifted by up to two
pixels. Models are kept in WORK, as those of `bench_lenet.py`. For each bound of bytes the answer is the point within it
with the lowest error on validation; test images judge every point, and choose none.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from bench_lenet import (
    CLASSES,
    LABELS,
    PAGE,
    SEED,
    SHAPE,
    Evaluator,
    Point,
    cheapened,
    commit,
    errors,
    is_measured,
    read_arguments,
    table_of,
)
from committed import Record, place_table, read
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.distillation.objectives import from_labels
from espalier.folding import fold_batch_norms
from espalier.inputs.image import ImageAugmentations
from espalier.models import build
from espalier.seeds import generator, seed_all
from espalier.training.loss_inputs import Objective
from espalier.training.recipe import Recipe

Widths = tuple[tuple[int, ...], ...]
VIEWS = 24
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


@dataclass(frozen=True)
class Cnn:
    """A network of plain convolutions, and how long it is trained."""

    name: str
    widths: Widths
    epochs: int

    def build(self, **arguments: Any) -> nn.Module:
        """With new weights."""
        arguments["widths"] = [list(stage) for stage in self.widths]
        return build("espalier:cnn", classes=CLASSES, shape=SHAPE, arguments=arguments)


class Bench(Evaluator):
    """The data, with warped views, and a teacher."""

    def __init__(self, source: Path, work: Path, teacher: str) -> None:
        super().__init__(source, work)
        self.teacher = teacher

    def views(self, count: int) -> ImageAugmentations:
        """Turned, scaled and shifted."""
        return Warps(len(self.splits["train"]), 2, False, SEED, count)

    def trained(self, cnn: Cnn, objective: Objective, recipe: Recipe) -> nn.Module:
        """A new network, trained."""
        seed_all(SEED, "weights", cnn.name)
        network = cnn.build()
        self.train(network, objective, replace(recipe, epochs=cnn.epochs), cnn.name)
        return network


def folded(network: nn.Module, student: Cnn) -> nn.Module:
    """The network without norms, as its factory builds one: the packed file needs no list of what was removed."""
    plain = student.build(norms=False)
    plain.load_state_dict(fold_batch_norms(network.cpu(), torch.zeros(2, *SHAPE)).state_dict())
    return plain


@dataclass(frozen=True)
class Line:
    """A student, its teacher, and the prices that it is made cheaper at, one after another."""

    teacher: Cnn
    student: Cnn
    points: tuple[Point, ...]


TEACHER = Cnn("teacher", ((16, 16), (32, 32), (64, 64)), 16)
WIDE_TEACHER = Cnn("wide teacher", ((24, 24), (48, 48), (96, 96)), 20)
LINES = (
    Line(
        TEACHER,
        Cnn("student", ((8, 12), (16, 16), (20, 24)), 24),
        (Point(0.002, 15), Point(0.006, 12), Point(0.015, 15), Point(0.04, 12), Point(0.1, 20)),
    ),
    Line(
        TEACHER,
        Cnn("narrow", ((6, 8), (10, 12), (12, 14)), 24),
        (Point(0.01, 12), Point(0.03, 14), Point(0.06, 20), Point(0.15, 25), Point(0.2, 15)),
    ),
    Line(
        WIDE_TEACHER,
        Cnn("wide", ((10, 14), (20, 22), (26, 30)), 48),
        (Point(0.002, 20), Point(0.005, 15)),
    ),
)
NAMES = [line.student.name for line in LINES]


def main() -> None:
    given = read_arguments(__doc__, NAMES)
    for line in LINES:
        name = line.student.name
        if name in given.lines:
            bench = Bench(given.mnist, given.work, line.teacher.name)
            commit("bench_bytes", name, points_of(bench, line), write=given.write)
    if given.write:
        place_table("bytes", table(), PAGE)


def points_of(bench: Bench, line: Line) -> Iterator[Record]:
    """The rows of a line: the teacher, the student as it was taught, and at each price."""
    teacher, student = line.teacher, line.student
    whole = bench.cached(teacher.name, lambda: bench.trained(teacher, from_labels(), LABELS))
    yield errors(bench, teacher.name, whole, teacher.epochs)
    recipe = replace(LABELS, views=VIEWS)
    network = bench.cached(student.name, lambda: bench.trained(student, bench.taught(), recipe))
    yield errors(bench, student.name, network, student.epochs)
    network = folded(network, student)
    for point in line.points:
        priced = f"{student.name}-{point.rate}"
        network = bench.cached(priced, lambda: cheapened(bench, network, point, priced))  # noqa: B023
        yield errors(bench, priced, network, point.epochs)


def table() -> str:
    """The committed results in Markdown."""
    return table_of(NAMES)


def best_within(size: int, names: Iterable[str] = NAMES) -> tuple[str, Record]:
    """The line and the row of the packed file within a size whose validation error is the lowest."""
    measured = [name for name in names if is_measured(name)]
    rows = [(name, row) for name in measured for row in read(f"bytes/{name}")["points"]]
    within = [(name, row) for name, row in rows if row["bytes"] <= size]
    return min(within, key=lambda one: float(one[1]["validation"]))


if __name__ == "__main__":
    main()
