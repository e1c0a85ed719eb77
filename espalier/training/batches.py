"""Examples of a split, resident on the device or streamed from the disk, behind one interface."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from espalier.data.prepared import Dataset, Split, StreamedSplit, open_split, read_split


@dataclass(frozen=True)
class Batch:
    """Some examples.

    Attributes:
        index: (N,) int64 on the processor, indices into the split.
        inputs: (N, ...) on the device, in their stored type (uint8 for images).
        targets: (N, ...) on the device; int64 class numbers for a classification.
    """

    index: Tensor
    inputs: Tensor
    targets: Tensor


class Examples(Protocol):
    """A split that can be read in any order."""

    @property
    def targets(self) -> Tensor:
        """Targets (N, ...) of all examples."""

    def __len__(self) -> int:
        """Number of examples."""

    def batches(self, groups: list[Tensor]) -> Iterator[Batch]:
        """One batch for each group of indices, in this order."""


class Resident:
    """A split kept on the device in its stored type, the fastest way for data that fit."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._inputs = split.inputs.to(device)
        self.targets = split.targets.to(device)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.targets)

    def batches(self, groups: list[Tensor]) -> Iterator[Batch]:
        """One batch for each group of indices."""
        for index in groups:
            where = index.to(self.targets.device)
            yield Batch(index, self._inputs[where], self.targets[where])


class Streamed:
    """A split read from the disk by worker processes while the device computes."""

    def __init__(self, split: StreamedSplit, device: torch.device, workers: int = 2) -> None:
        self._split, self._device, self._workers = split, device, workers
        self.targets = split.targets

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._split)

    def batches(self, groups: list[Tensor]) -> Iterator[Batch]:
        """One batch for each group of indices."""
        loader = DataLoader(
            self._split,
            batch_sampler=[group.tolist() for group in groups],
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
        )
        for inputs, targets, index in loader:
            yield Batch(
                index,
                inputs.to(self._device, non_blocking=True),
                targets.to(self._device, non_blocking=True),
            )


def open_examples(
    folder: Path, dataset: Dataset, split: str, device: torch.device, resident_bytes: int
) -> Examples:
    """Open a split of prepared data: resident if its inputs fit into `resident_bytes`, else streamed."""
    size = dataset.counts[split] * dataset.zeros(1).nbytes
    if size <= resident_bytes:
        return Resident(read_split(folder, split), device)
    return Streamed(open_split(folder, split), device)


def in_order(count: int, size: int) -> list[Tensor]:
    """All examples in their order, in groups of `size`, the last one smaller if need be."""
    return list(torch.arange(count).split(size))
