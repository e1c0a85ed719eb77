"""Prepared data: three splits as tensors, each checked against the hash that was recorded when it was written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file

from espalier import files
from espalier.data.encoded import SPLIT, EncodedSplit
from espalier.data.names import SPLITS, TRAIN
from espalier.errors import BadInput, first_problem
from espalier.inputs import Decoder, Front, InputKind, input_named
from espalier.paths import CLASS_NAMES, DATASET, HEADS
from espalier.prediction import Concepts, Heads, Regression, Task, task_named
from espalier.reading import reading

_IMAGE, _CLASSIFICATION = "image", "classification"  # what a description without the keys means

# the validator of a type; to build one takes longer than to use it
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)

_ORDER = (  # of the keys in `dataset.json`, whose hash is the version of the data
    "name",
    "classes",
    "shape",
    "mean",
    "std",
    "counts",
    "crop",
    "flip",
    "seed",
    "source_hash",
    "files",
    "dropped",
)


@dataclass(frozen=True)
class Dataset:
    """The description of prepared data.

    Attributes:
        name: name of the data set.
        classes: names of the classes, by label.
        shape: shape of every input: channels, height, width.
        counts: number of examples of each split.
        seed: seed of the splits.
        source_hash: SHA-256 over names and contents of the files in `data/`.
        files: SHA-256 of each split's file, by the file's name.
        facts: what the kind of input records of the data, such as `ImageFacts`.
        dropped: number of examples left out because a stricter split holds the same image.
        kind: kind of input, one of `espalier.inputs.INPUTS`.
        task: task, one of `espalier.prediction.TASKS`.
        task_facts: what the task records of the data, such as the tolerance of a regression.
    """

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, ...]
    counts: dict[str, int]
    seed: int
    source_hash: str
    files: dict[str, str]
    facts: Any
    dropped: int = 0
    kind: str = _IMAGE
    task: str = _CLASSIFICATION
    task_facts: dict[str, Any] = field(default_factory=dict)

    @property
    def input(self) -> InputKind:
        """The kind of input."""
        return input_named(self.kind)

    def build_task(self) -> Task:
        """The task, with what it records of the data."""
        return task_named(self.task, self.task_facts)

    def concepts(self, given: Mapping[str, Sequence[str]] | None) -> Concepts | None:
        """The concepts of a model: names of classes by the name of the output, or None for all classes.

        Raises:
            BadInput: if a class is unknown, or the task is no classification.
        """
        if given is not None and self.task != _CLASSIFICATION:
            found = "several heads" if self.task == "heads" else f"a {self.task}"
            raise BadInput(
                "Expected `classes` with a classification, whose examples have one class; found "
                f"{found}: leave `classes` out."
            )
        return Concepts.of(given, self.classes)

    def describe(self) -> str:
        """Kind, form and task of the examples in words."""
        return describe(self.kind, self.shape, self.facts, self.build_task(), self.classes)

    def model_files(self) -> dict[str, Any]:
        """JSON files in every model folder, of the kind of input and of the outputs, by their names."""
        task, of_input = self.build_task(), self.input.model_files(self.shape, self.facts)
        if isinstance(task, Heads):
            return {**of_input, HEADS: {head.name: head.description for head in task.heads}}
        if isinstance(task, Regression):
            return of_input
        return {**of_input, CLASS_NAMES: {"classes": list(self.classes)}}

    def network_arguments(self) -> dict[str, Any]:
        """Arguments that the kind of input adds to those of a factory."""
        return self.input.network_arguments(self.facts)

    def front(
        self,
        device: torch.device | str = "cpu",
        preprocessing: dict[str, Any] | None = None,
    ) -> Front:
        """The module that maps stored inputs to what a network sees.

        Args:
            device: device of the module.
            preprocessing: preprocessing that the network brings along; None for that of the data.
        """
        if preprocessing is None:
            return self.input.front(self.facts).to(device)
        return self.input.own_front(preprocessing, self.shape).to(device)

    def is_encoded(self, split: str) -> bool:
        """Whether the examples of a split are stored encoded and decoded at each use."""
        return split == TRAIN and self.decoder() is not None

    def decoder(self, seed: int | None = None) -> Decoder | None:
        """The decoder of the examples of train; None if they are stored decoded.

        Args:
            seed: seed of the views; None for examples without augmentation in all views.
        """
        of_the_facts = getattr(self.facts, "decoder", None)
        if of_the_facts is None:
            return None
        decoder: Decoder | None = of_the_facts(self.shape, seed)
        return decoder

    def zeros(self, count: int) -> torch.Tensor:
        """Stored inputs (count, ...) that are all zero."""
        return torch.zeros(count, *self.shape, dtype=self.input.dtype)

    def example(
        self,
        device: torch.device | str = "cpu",
        preprocessing: dict[str, Any] | None = None,
    ) -> torch.Tensor:
        """Two examples as a network sees them, all zero, to trace a network with."""
        seen = self.front(preprocessing=preprocessing)(self.zeros(2))
        return torch.zeros(seen.shape, dtype=seen.dtype, device=device)

    def to_json(self) -> dict[str, Any]:
        """The content of `dataset.json`."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        facts = asdict(own.pop("facts"))
        values = {**own, **facts}
        if self.kind == _IMAGE:
            del values["kind"]
        if values.get("decoding", "") is None:  # as before there was the key
            del values["decoding"]
        if self.task == _CLASSIFICATION:
            del values["task"], values["task_facts"]
        first = {key: values.pop(key) for key in _ORDER if key in values}
        return {**first, **values}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Dataset":
        """The description in the content of `dataset.json`.

        Raises:
            BadInput: if the kind of input is unknown.
            ValidationError: if a value is missing or of another type.
        """
        kind = input_named(content.get("kind", _IMAGE))
        names = {one.name for one in fields(kind.facts_type)}
        facts = {key: value for key, value in content.items() if key in names}
        own = {key: value for key, value in content.items() if key not in names}
        validated = _adapter(kind.facts_type).validate_python(facts)
        return cast(Dataset, _adapter(cls).validate_python({**own, "facts": validated}))


def describe(
    kind: str, shape: tuple[int, ...], facts: Any, task: Task, classes: Sequence[str]
) -> str:
    """Kind, form and task of examples, such as `images, 1x8x8, 10 classes`."""
    found = input_named(kind)
    return f"{found.plural}, {found.describe(shape, facts)}, {task.describe(classes)}"


@dataclass(frozen=True)
class Split:
    """A split in memory: inputs (N, ...) in their stored type and targets (N, ...) of the task."""

    inputs: torch.Tensor
    targets: torch.Tensor

    def answered(self, concepts: Concepts | None) -> "Split":
        """The examples of the classes that a model answers, with its outputs as their targets."""
        if concepts is None:
            return self
        index, targets = concepts.targets(self.targets)
        return Split(self.inputs[index], targets)


def file_name(split: str) -> str:
    """The name of a split's file.

    Raises:
        BadInput: If there is no such split.
    """
    if split not in SPLITS:
        raise BadInput(f"Expected a split to be one of {', '.join(SPLITS)}; found {split!r}.")
    return f"{split}.safetensors"


def read_dataset(folder: Path) -> Dataset:
    """Read the description of prepared data.

    Raises:
        BadInput: if `dataset.json` is missing or not as `espalier prepare` writes it.
    """
    content = files.read_json_object(_description(folder))
    try:
        return Dataset.from_json(content)
    except ValidationError as error:
        where, problem = first_problem(error)
        raise BadInput(
            f"Expected {folder / DATASET} to be as `espalier prepare` writes it; found at "
            f"`{where}`: {problem}."
        ) from None


def read_split(folder: Path, split: str) -> Split:
    """Read a split whose examples are stored decoded.

    Its file is mapped into memory: an example is read from the disk when it is asked for.

    Raises:
        BadInput: If its file is not the one that was prepared, or holds encoded examples; it names
            the file.
    """
    path = _decoded(folder, split)
    with reading(path, SPLIT):
        tensors = load_file(path)
        return Split(tensors["images"], tensors["labels"])


def open_encoded(folder: Path, split: str, seed: int | None = None) -> EncodedSplit:
    """Open a split whose examples are stored encoded.

    Args:
        folder: folder of the prepared data.
        split: name of the split.
        seed: seed of the views; None for examples without augmentation in all views.

    Raises:
        BadInput: If its file is not the one that was prepared, or holds decoded examples; it names
            the file.
    """
    dataset = read_dataset(folder)
    decoder = dataset.decoder(seed)
    if decoder is None or not dataset.is_encoded(split):
        raise BadInput(
            f"Expected {folder / file_name(split)} to hold encoded examples; found decoded ones: "
            "`read_split` reads them."
        )
    return EncodedSplit(_checked(folder, split), decoder)


def data_hash(folder: Path) -> str:
    """The SHA-256 of `dataset.json`, which holds those of the splits: the version of the prepared data.

    Raises:
        BadInput: If there is none.
    """
    return files.sha256(_description(folder))


def _description(folder: Path) -> Path:
    path = folder / DATASET
    if not path.is_file():
        raise BadInput(f"Expected {path} to exist; found nothing there: run `espalier prepare`.")
    return path


def _decoded(folder: Path, split: str) -> Path:
    """The checked file of a split whose examples are stored decoded."""
    if read_dataset(folder).is_encoded(split):
        raise BadInput(
            f"Expected {folder / file_name(split)} to hold decoded examples; found encoded ones, by "
            "`data.images.decode: on_the_fly`: `open_encoded` decodes them one by one."
        )
    return _checked(folder, split)


def _checked(folder: Path, split: str) -> Path:
    path = folder / file_name(split)
    expected = read_dataset(folder).files.get(path.name, "nothing")
    found = files.sha256(path) if path.is_file() else "no file"
    if found != expected:
        raise BadInput(
            f"Expected {path} to have the SHA-256 {expected[:12]} that {DATASET} recorded; found "
            f"{found[:12]}: it was "
            "changed or damaged; run `espalier prepare` again."
        )
    return path
