"""The speed of distillation on this machine, beside the loops that a user would write.

ResNet-56 teaches ResNet-20 on random images of 32 x 32, for an epoch:

| way | teacher | images |
|---|---|---|
| `plain` | asked for each batch | a DataLoader of single ones, augmented one by one, as in most tutorials |
| `in memory` | asked for each batch | batches of tensors, channels last: the best loop without a bank |
| `empty bank` | asked once for each view | as Espalier trains |
| `full bank` | answers are read | as Espalier trains, from the second student or recovery on |

All but `plain` train in bfloat16 where the device computes it. A teacher in float32 on a processor answers the bank by
its deployed file.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from pathlib import Path

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
from espalier.models import build
from espalier.runtimes import DEFAULT
from espalier.runtimes.as_network import BATCH, DeployedNetwork
from espalier.seeds import seed_all
from espalier.training.batches import Resident
from espalier.training.device import autocast, join_process_group, to_device, trains_in_bfloat16
from espalier.training.engine import fit
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference

PLAIN, IN_MEMORY, EMPTY, FULL = "plain", "in memory", "empty bank", "full bank"
_SHAPE, _BATCH, _TEMPERATURE, _WEIGHT = (3, 32, 32), 128, 4.0, 0.9
_MEAN, _STD = (0.5,) * 3, (0.25,) * 3
_FLOAT32 = nullcontext()


class DistillationSpeed:
    """Loops that distil one teacher.

    Attributes:
        ways: functions that train for an epoch, by name.
    """

    def __init__(self, folder: Path, images: int = 1280, threads: int = 1) -> None:
        """Make images, teacher and its deployed file.

        Args:
            folder: empty folder for files of the measurement.
            images: number of training images.
            threads: number of threads on a processor.
        """
        self._folder = folder
        self._recipe = Recipe(epochs=1, batch_size=_BATCH, threads=threads)
        self._processes = join_process_group(self._recipe)
        self._device = self._processes.device
        random = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (images, *_SHAPE), dtype=torch.uint8, generator=random)
        self._split = Split(pixels, torch.arange(images) % 10)
        self._views = ImageAugmentations(images, 4, True, 0, 1)
        self._front = Normalize(_MEAN, _STD)
        self.ways: dict[str, Callable[[], None]] = {
            PLAIN: self._plain,
            IN_MEMORY: self._in_memory,
            EMPTY: self._with_empty_bank,
            FULL: partial(self._ours, folder / "bank"),
        }

    def seconds(self, rounds: int) -> dict[str, float]:
        """Median seconds of an epoch by way. The ways take turns, and the first turn does not count."""
        taken: dict[str, list[float]] = {name: [] for name in self.ways}
        for turn in range(rounds + 1):
            for name, way in self.ways.items():
                seconds = self._timed(way)
                if turn:
                    taken[name].append(seconds)
        return {name: statistics.median(each) for name, each in taken.items()}

    def _timed(self, way: Callable[[], None]) -> float:
        started = time.perf_counter()
        way()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    def _plain(self) -> None:
        loader = DataLoader(_SingleImages(self._split), _BATCH, shuffle=True)
        self._distil(loader, torch.contiguous_format)

    def _in_memory(self) -> None:
        front = self._front.to(self._device)
        pixels, labels = (one.to(self._device) for one in (self._split.inputs, self._split.targets))
        groups = torch.randperm(len(labels)).split(_BATCH)
        batches = (
            (front(self._views.apply(pixels[index], index, 0)), labels[index]) for index in groups
        )
        self._distil(batches, torch.channels_last, autocast(self._recipe, self._device))

    def _distil(
        self,
        batches: Iterable[tuple[Tensor, Tensor]],
        layout: torch.memory_format,
        precision: AbstractContextManager[object] = _FLOAT32,
    ) -> None:
        """An epoch that asks the teacher for each batch (Hinton et al. 2015)."""
        teacher, student = (
            network.to(self._device, memory_format=layout)  # type: ignore[call-overload]
            for network in (_network(56).eval(), _network(20).train())
        )
        optimizer = torch.optim.SGD(
            student.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True
        )
        for given, labels in batches:
            images = given.to(self._device).contiguous(memory_format=layout)
            with precision:
                with torch.no_grad():
                    answers = teacher(images).float()
                outputs = student(images).float()
            soft = functional.kl_div(
                functional.log_softmax(outputs / _TEMPERATURE, 1),
                functional.softmax(answers / _TEMPERATURE, 1),
                reduction="batchmean",
            )
            hard = functional.cross_entropy(outputs, labels.to(self._device))
            loss = _WEIGHT * _TEMPERATURE**2 * soft + (1 - _WEIGHT) * hard
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    def _with_empty_bank(self) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder) as empty:
            self._ours(Path(empty))

    def _ours(self, folder: Path) -> None:
        train = Resident(self._split, self._device)
        front = self._front.to(self._device)
        few = Resident(
            Split(self._split.inputs[:_BATCH], self._split.targets[:_BATCH]), self._device
        )
        objective = from_teacher(
            Bank(folder, partial(self._answer, train)), temperature=_TEMPERATURE, weight=_WEIGHT
        )
        fit(
            _network(20),
            train,
            Inference(few, front),
            objective,
            self._recipe,
            augmentations=self._views,
            front=front,
            processes=self._processes,
        )

    def _answer(self, train: Resident, view: int) -> Tensor:
        def augment(pixels: Tensor, index: Tensor) -> Tensor:
            return self._views.apply(pixels, index, view)

        if self._device.type == "cpu" and not trains_in_bfloat16(self._recipe, self._device):
            return Inference(train, nn.Identity(), BATCH).outputs(self._deployed, augment)[0]
        teacher = to_device(_network(56), self._device)
        precision = partial(autocast, self._recipe, self._device)
        inference = Inference(train, self._front.to(self._device), precision=precision)
        return inference.outputs(teacher, augment)[0]

    @cached_property
    def _deployed(self) -> DeployedNetwork:
        """The teacher's file, which it has in a project before a student begins."""
        file = self._folder / "teacher.onnx"
        export(_network(56).eval(), file, self._split.inputs[:2], Normalize(_MEAN, _STD))
        return DeployedNetwork(DEFAULT.open(file, self._recipe.threads))


class _SingleImages(Dataset[tuple[Tensor, int]]):
    """Single images, augmented and normalised by torchvision's transforms."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._transform = v2.Compose(
            [
                v2.RandomCrop(_SHAPE[-1], padding=4),
                v2.RandomHorizontalFlip(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(_MEAN, _STD),
            ]
        )

    def __len__(self) -> int:
        return len(self._split.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(self._split.inputs[index]), int(self._split.targets[index])


def _network(depth: int) -> nn.Module:
    seed_all(0, "weights")
    return build("espalier:resnet", classes=10, shape=_SHAPE, arguments={"depth": depth})
