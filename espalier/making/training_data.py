"""The prepared data, as one training uses them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from espalier.data.names import TEST, TRAIN, VALIDATION
from espalier.data.prepared import Dataset, data_hash, read_dataset, read_split
from espalier.errors import BadInput
from espalier.export.onnx import Names
from espalier.inputs import Augmentations, Front
from espalier.prediction import Concepts, Task
from espalier.training.batches import Chosen, Examples, open_examples
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference


@dataclass(frozen=True)
class TrainingData:
    """The training and validation splits. Each is hashed and read once.

    Attributes:
        folder: folder of the prepared data.
        recipe: recipe of the training, which decides on augmentation and on how much is resident.
        seed: seed of the project.
        device: device of the training.
        preprocessing: preprocessing that the trained network brings along; None for that of the
            data.
        classes: names of the classes of each output of the trained network; None for all classes,
            one by one. Examples of other classes are left out of every split.
    """

    folder: Path
    recipe: Recipe
    seed: int
    device: torch.device
    preprocessing: dict[str, Any] | None = None
    classes: Mapping[str, Sequence[str]] | None = None
    _opened: dict[str, Examples] = field(default_factory=dict, repr=False)

    @cached_property
    def dataset(self) -> Dataset:
        """Description of the data, with the outputs of the network as its classes."""
        whole = read_dataset(self.folder)
        concepts = whole.concepts(self.classes)
        return whole if concepts is None else replace(whole, classes=concepts.names)

    @cached_property
    def concepts(self) -> Concepts | None:
        """The outputs of the network; None for all classes, one by one."""
        return read_dataset(self.folder).concepts(self.classes)

    @cached_property
    def version(self) -> str:
        """SHA-256 of the description, which contains the hashes of the splits."""
        return data_hash(self.folder)

    @cached_property
    def task(self) -> Task:
        """Task of the data."""
        return self.dataset.build_task()

    @property
    def train(self) -> Examples:
        """The training split, on the device."""
        return self.open(TRAIN)

    @property
    def validation(self) -> Inference:
        """Inference over the validation split."""
        return Inference(self.open(VALIDATION), self.front, task=self.task)

    @cached_property
    def front(self) -> Front:
        """The module between stored inputs and networks, on the device."""
        return self.dataset.front(self.device, self.preprocessing)

    @property
    def deployed_front(self) -> Front:
        """The same module on the CPU, for the deployed file."""
        return self.dataset.front("cpu", self.preprocessing)

    @property
    def readout(self) -> nn.Module | None:
        """The module after the network in the deployed file; None for none."""
        return self.task.readout()

    @property
    def names(self) -> Names:
        """Names of the input and the output of the deployed file."""
        return Names(self.dataset.kind, self.task.output)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example as a network sees it."""
        return tuple(self.example().shape[1:])

    @cached_property
    def augmentations(self) -> Augmentations:
        """Augmented versions of the training split, the same for all entries."""
        return self.dataset.input.augmentations(
            self.dataset.facts,
            examples=len(self.train),
            seed=self.seed,
            count=self.recipe.views if self.recipe.augment else 1,
            active=self.recipe.augment,
        )

    @property
    def decoder_versions(self) -> dict[str, str]:
        """Versions of the libraries that decode images on the fly; empty if their pixels are stored."""
        return {"pillow": metadata.version("pillow")} if self.dataset.is_encoded(TRAIN) else {}

    def open(self, split: str) -> Examples:
        """A split on the device. The test split is reserved for evaluation.

        Raises:
            BadInput: if it is the test split.
        """
        _refuse_test(split)
        if split not in self._opened:
            examples = open_examples(
                self.folder,
                self.dataset,
                split,
                self.device,
                self.recipe.resident_bytes,
                self.seed if self.recipe.augment else None,
            )
            self._opened[split] = self._answered(examples, split)
        return self._opened[split]

    def _answered(self, examples: Examples, split: str) -> Examples:
        """The examples of the classes that the network answers, with its outputs as their targets.

        Raises:
            BadInput: if an output has no example.
        """
        if self.concepts is None:
            return examples
        index, targets = self.concepts.targets(examples.targets)
        empty = set(range(len(self.concepts.names))) - set(targets.unique().tolist())
        if empty:
            raise BadInput(
                f"Expected examples of each of {self.concepts.describe()} in the {split} split; "
                f"found none of {self.concepts.names[min(empty)]!r}."
            )
        return Chosen(examples, index.cpu(), targets)

    def stored(self, split: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The inputs (N, ...) of a split in their stored type and its targets (N, ...), mapped into main memory.

        Raises:
            BadInput: if it is the test split, or its examples are stored encoded.
        """
        _refuse_test(split)
        whole = read_split(self.folder, split)  # mapped, so that it need not fit into memory
        if self.concepts is None:
            return whole.inputs, whole.targets
        index, targets = self.concepts.targets(whole.targets)
        return whole.inputs[index], targets

    def example(self) -> torch.Tensor:
        """Two examples as a network sees them, all zero, on the device."""
        return self.dataset.example(self.device, self.preprocessing)

    def zeros(self, count: int) -> torch.Tensor:
        """Stored inputs (count, ...) that are all zero, on the device."""
        return self.dataset.zeros(count).to(self.device)

    def front_of_zeros(self) -> torch.Tensor:
        """Two stored inputs of zeros, as a network sees them, on the device."""
        example: torch.Tensor = self.front(self.zeros(2))
        return example


def _refuse_test(split: str) -> None:
    if split == TEST:
        raise BadInput(
            "Expected a model to be made from the train and validation splits; found test."
        )
