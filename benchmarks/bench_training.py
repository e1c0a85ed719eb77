"""The value of the engine's choices: seconds per epoch of a student, side by side, in turn, in one process.

python benchmarks/bench_training.py
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from espalier.data.prepared import Split
from espalier.distillation.bank import Bank
from espalier.distillation.objectives import from_teacher
from espalier.inputs.image import ImageAugmentations, Normalize
from espalier.measures.device import device_name
from espalier.models import build
from espalier.training.batches import Resident
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

SHAPE, IMAGES, ROUNDS = (3, 32, 32), 1024, 3


def main() -> None:
    recipe = Recipe(epochs=1, batch_size=128, threads=1)
    processes = join_process_group(recipe)
    pixels = torch.randint(
        0, 256, (IMAGES, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    train = Resident(Split(pixels, torch.arange(IMAGES) % 10), processes.device)
    front = Normalize((0.5,) * 3, (0.25,) * 3, processes.device)
    views = ImageAugmentations(IMAGES, 4, True, 0, 10)
    validation = Inference(
        Resident(Split(pixels[:128], torch.arange(128) % 10), processes.device), front
    )
    teacher = (
        build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 56})
        .to(processes.device)
        .eval()
    )

    def answer(view: int) -> torch.Tensor:
        return Inference(train, front).outputs(
            teacher, lambda images, index: views.apply(images, index, view)
        )[0]

    def epoch(folder: Path) -> float:
        student = build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 20})
        objective = from_teacher(Bank(folder, answer), temperature=4, weight=0.9)
        started = time.perf_counter()
        fit(
            student,
            train,
            validation,
            objective,
            recipe,
            augmentations=views,
            front=front,
            processes=processes,
        )
        return time.perf_counter() - started

    times: dict[str, list[float]] = {"teacher asked": [], "teacher's answers read": []}
    with tempfile.TemporaryDirectory() as kept:
        epoch(Path(kept))
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as empty:
                times["teacher asked"].append(epoch(Path(empty)))
            times["teacher's answers read"].append(epoch(Path(kept)))
    print(
        f"{device_name(processes.device)}, torch {torch.__version__}, {recipe.threads} thread, "
        "ResNet-56 teaches ResNet-20"
    )
    first = statistics.median(times["teacher asked"])
    for name, taken in times.items():
        seconds = statistics.median(taken)
        print(f"{name:24} {seconds:6.2f} s per epoch of {IMAGES} images  {first / seconds:.2f}x")


if __name__ == "__main__":
    main()
