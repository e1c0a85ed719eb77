"""Examples of a split, resident on the device, streamed or decoded on the fly, behind one interface."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from espalier.data.encoded import EncodedSplit
from espalier.data.prepared import (
    Dataset,
    Split,
    open_encoded,
    read_split,
)
from espalier.processors import available_processors
from espalier.seeds import generator

_AHEAD = 2  # batches that are read or decoded before they are asked for
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
            where = index.to(self.targets.device, non_blocking=True)
            yield Batch(index, self._inputs[where], self.targets[where])


class Streamed:
    """A split mapped from the disk; a thread gathers the next batches while the device computes."""

    def __init__(self, split: Split, device: torch.device) -> None:
        self._split, self._device = split, device
        self.targets = split.targets

    def __len__(self) -> int:
        """Number of examples."""
        return len(self._split.targets)

    def batches(self, groups: list[Tensor], view: int | None = None) -> Iterator[Batch]:
        """One batch for each group of indices; the next ones are read meanwhile."""
        del view
        with ThreadPoolExecutor(1, "gather") as thread:
            gathered = _in_advance(groups, lambda group: thread.submit(self._gather, group))
            for index, inputs in zip(groups, gathered, strict=True):
                yield Batch(
                    index,
                    inputs.result().to(self._device, non_blocking=True),
                    self.targets[index].to(self._device, non_blocking=True),
                )

    def _gather(self, index: Tensor) -> Tensor:
        """The inputs of some examples in main memory, pinned for a GPU."""
        stored = self._split.inputs
        pinned = self._device.type == "cuda"
        gathered = stored.new_empty(len(index), *stored.shape[1:], pin_memory=pinned)
        return torch.index_select(stored, 0, index, out=gathered)


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
        for decoding in _in_advance(groups, lambda group: self._start(group, view)):
            yield self._finish(decoding)

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


class _Work(Protocol):
    """Work on a batch that was handed to threads."""

    def cancel(self) -> object:
        """Leave out what is not begun yet."""


Work = TypeVar("Work", bound=_Work)


def _in_advance(groups: list[Tensor], begin: Callable[[Tensor], Work]) -> Iterator[Work]:
    """The work on each batch, in order; that on the next ones is begun before it is taken."""
    waiting: deque[Work] = deque()
    try:
        for group in groups:
            waiting.append(begin(group))
            if len(waiting) > _AHEAD:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for work in waiting:
            work.cancel()


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
            where = group.to(self.targets.device, non_blocking=True)
            targets = self.targets[where].to(batch.targets.device, non_blocking=True)
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
    kind = Resident if size <= resident_bytes else Streamed
    return kind(read_split(folder, split), device)


def _processors() -> int:
    """The number of processors that this process may use, if others train with it on this machine."""
    return max(1, available_processors() // int(os.environ.get("LOCAL_WORLD_SIZE", 1)))


def in_order(count: int, size: int) -> list[Tensor]:
    """All examples in their order, in groups of `size`, the last one smaller if need be."""
    return list(torch.arange(count).split(size))


def sample(most: int, count: int, size: int) -> list[Tensor]:
    """Some examples of a split, always the same ones, in groups of nearly equal sizes.

    They are drawn and not the first ones, because folders of classes are prepared class by class: the
    first examples would be of few classes, and each group of one.

    Args:
        most: largest number of examples in all groups.
        count: number of examples of the split.
        size: number of examples of a group, to the nearest that divides them evenly.

    Example:
        All of 258 examples in groups of about 256 are one group of 258: a group of 2 would count as
        much as the other one in an average over groups.
    """
    drawn = torch.randperm(count, generator=generator(0, "sample", count))[:most]
    groups = max(1, round(len(drawn) / size))
    return [group.sort().values for group in drawn.tensor_split(groups)]
