"""Examples of a split, resident on the device, streamed or decoded on the fly, behind one interface."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from espalier.data.encoded import EncodedSplit
from espalier.data.prepared import (
    Dataset,
    Split,
    StreamedSplit,
    open_encoded,
    open_split,
    read_split,
)

_AHEAD = 2  # batches that are decoded before they are asked for
_PARTS = 32  # of a batch, so that no thread is idle while another decodes large images


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

    def batches(self, groups: list[Tensor], view: int | None = None) -> Iterator[Batch]:
        """One batch for each group of indices, in this order.

        Args:
            groups: indices (N,) int64 of the examples of each batch.
            view: number of the view that examples are decoded as; None for examples without
                augmentation. Stored decoded, they are the same in each view, until
                `Augmentations.apply`.
        """


class Resident:
    """A split kept on the device in its stored type, the fastest way for data that fit."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._inputs = split.inputs.to(device)
        self.targets = split.targets.to(device)

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.targets)

    def batches(self, groups: list[Tensor], view: int | None = None) -> Iterator[Batch]:
        """One batch for each group of indices."""
        del view
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

    def batches(self, groups: list[Tensor], view: int | None = None) -> Iterator[Batch]:
        """One batch for each group of indices."""
        del view
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


class OnTheFly:
    """A split stored encoded, decoded by threads while the device computes.

    The threads live as long as the object: over all epochs. Pillow's decoders work without Python's
    lock, so threads decode side by side, and hand their pixels over without a copy. Each example is a
    function of its view and index, so their number does not change a bit.
    """

    def __init__(
        self, split: EncodedSplit, example: Tensor, device: torch.device, threads: int | None = None
    ) -> None:
        """Start no thread yet.

        Args:
            split: encoded split.
            example: one example (1, ...), for its shape and type.
            device: device of the batches.
            threads: number of threads; None for one a processor.
        """
        self._split, self._example, self._device = split, example, device
        self._threads = ThreadPoolExecutor(threads or _processors(), "decode")
        self.targets = split.targets

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._split)

    def batches(self, groups: list[Tensor], view: int | None = None) -> Iterator[Batch]:
        """One batch for each group of indices; the next ones are decoded meanwhile."""
        waiting: deque[_Decoding] = deque()
        try:
            for group in groups:
                waiting.append(self._start(group, view))
                if len(waiting) > _AHEAD:
                    yield self._finish(waiting.popleft())
            while waiting:
                yield self._finish(waiting.popleft())
        finally:
            for decoding in waiting:
                decoding.cancel()

    def _start(self, group: Tensor, view: int | None) -> "_Decoding":
        """Have a batch decoded."""
        inputs = self._example.new_empty(
            len(group), *self._example.shape[1:], pin_memory=self._device.type == "cuda"
        )
        rows = inputs.numpy()

        def decode(places: range) -> None:
            for place in places:
                rows[place] = self._split.read(indices[place], view)

        indices = group.tolist()
        parts = [range(len(indices))[start::_PARTS] for start in range(_PARTS)]
        return _Decoding(group, inputs, [self._threads.submit(decode, part) for part in parts])

    def _finish(self, decoding: "_Decoding") -> Batch:
        """The batch, once it is decoded.

        Raises:
            BadInput: if an example cannot be decoded.
        """
        try:
            for part in decoding.parts:
                part.result()
        finally:
            decoding.cancel()
        index, device = decoding.index, self._device
        return Batch(
            index,
            decoding.inputs.to(device, non_blocking=True),
            self.targets[index].to(device, non_blocking=True),
        )


@dataclass(frozen=True)
class _Decoding:
    """A batch that is being decoded.

    Attributes:
        index: indices (N,) of its examples.
        inputs: inputs (N, ...) that are being filled.
        parts: the work on it.
    """

    index: Tensor
    inputs: Tensor
    parts: list[Future[None]]

    def cancel(self) -> None:
        """Leave out the parts that are not begun."""
        for part in self.parts:
            part.cancel()


class Chosen:
    """Some examples of a split, with targets of their own."""

    def __init__(self, examples: Examples, index: Tensor, targets: Tensor) -> None:
        """Choose the examples of these indices (n,); `targets` (n, ...) are on their device."""
        self._examples, self._index = examples, index
        self.targets = targets

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._index)

    def batches(self, groups: list[Tensor], view: int | None = None) -> Iterator[Batch]:
        """One batch for each group of indices into the chosen examples."""
        found = self._examples.batches([self._index[group] for group in groups], view)
        for group, batch in zip(groups, found, strict=True):
            targets = self.targets[group.to(self.targets.device)].to(batch.targets.device)
            yield Batch(group, batch.inputs, targets)


def open_examples(
    folder: Path,
    dataset: Dataset,
    split: str,
    device: torch.device,
    resident_bytes: int,
    seed: int | None = None,
) -> Examples:
    """Open a split of prepared data.

    Stored encoded, it is decoded on the fly; else it is resident if its inputs fit into
    `resident_bytes`, and streamed if not.

    Args:
        folder: folder of the prepared data.
        dataset: their description.
        split: name of the split.
        device: device of the batches.
        resident_bytes: largest size of a resident split.
        seed: seed of the views that are decoded on the fly; None for examples without augmentation.
    """
    if dataset.is_encoded(split):
        return OnTheFly(open_encoded(folder, split, seed), dataset.zeros(1), device)
    size = dataset.counts[split] * dataset.zeros(1).nbytes
    if size <= resident_bytes:
        return Resident(read_split(folder, split), device)
    return Streamed(open_split(folder, split), device)


def _processors() -> int:
    """The number of processors that this process may use, if others train with it on this machine."""
    has_affinity = hasattr(os, "sched_getaffinity")
    processors = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, processors // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def in_order(count: int, size: int) -> list[Tensor]:
    """All examples in their order, in groups of `size`, the last one smaller if need be."""
    return list(torch.arange(count).split(size))
