"""What a stage that makes a model works with."""

import platform
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from espalier import __version__, files
from espalier.data.names import TEST
from espalier.data.prepared import Dataset, data_hash, read_dataset
from espalier.distillation.objectives import from_labels
from espalier.errors import BadInput
from espalier.inputs import Augmentations, Front
from espalier.models.architecture import Architecture
from espalier.models.folder import load, read_architecture
from espalier.params import Entry, Params, Recovered, Teacher
from espalier.paths import LINEAGE, MODELS, PREPARED, STATE, TEACHER, WEIGHTS
from espalier.prediction import Task, task_named
from espalier.runtimes import Runtime, runtime_named
from espalier.training.batches import Examples, open_examples
from espalier.training.checkpoint import Checkpoints
from espalier.training.device import ProcessGroup, join_process_group, to_device
from espalier.training.engine import Objective, fit
from espalier.training.history import Reporter, Row
from espalier.training.recipe import Recipe
from espalier.training.scoring import Inference


@dataclass(frozen=True)
class Job:
    """One entry of `params.yaml`, to be made a model of.

    Attributes:
        root: The project.
        name: Of the entry.
        entry: What it is made from, and how.
        params: All parameters.
        team: The processes that work on it, and their device.
    """

    root: Path
    name: str
    entry: Teacher | Entry
    params: Params
    team: ProcessGroup

    @classmethod
    def of(cls, root: Path, name: str, params: Params) -> "Job":
        """The job of an entry, on the device there is."""
        entry = params.entry(name)
        return cls(root, name, entry, params, join_process_group(_recipe(entry, params)))

    @property
    def parent(self) -> str | None:
        """The name of what it is made from; nothing for the teacher."""
        return getattr(self.entry, "parent", None)

    @cached_property
    def recipe(self) -> Recipe:
        """The knobs of its training or recovery."""
        return _recipe(self.entry, self.params)

    @cached_property
    def dataset(self) -> Dataset:
        """What is known of the prepared data."""
        return read_dataset(self.root / PREPARED)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that fixes the bits of the result."""
        teacher = TEACHER if isinstance(self.entry, Recovered) and self.entry.recovers else None
        others = getattr(self.entry, "teachers", None) or ()
        return {
            "entry": self.entry.model_dump(mode="json", by_alias=True),
            "recipe": asdict(self.recipe),
            "seed": self.params.seed,
            "data": data_hash(self.root / PREPARED),
            "models": {
                name: self.weights_hash(name) for name in (self.parent, teacher, *others) if name
            },
            "device": device_name(self.team.device),
            "processes": self.team.size,
            "versions": {
                "espalier": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }

    @cached_property
    def key(self) -> str:
        """The hash of the inputs: two jobs of the same key end with the same bits."""
        return files.digest(self.inputs)

    def open(self, split: str) -> Examples:
        """The training or validation split, on the device. The test split is for evaluation alone.

        Raises:
            BadInput: If it is the test split.
        """
        if split == TEST:
            raise BadInput(
                "Expected a model to be made from the train and validation splits; found test."
            )
        return open_examples(
            self.root / PREPARED, self.dataset, split, self.team.device, self.recipe.resident_bytes
        )

    @property
    def task(self) -> Task:
        """What is asked of an example."""
        return task_named(self.dataset.task)

    @property
    def runtime(self) -> Runtime:
        """The runtime that executes deployed files."""
        return runtime_named(self.params.evaluation.runtime)

    @cached_property
    def train(self) -> Examples:
        """The training split."""
        return self.open("train")

    @cached_property
    def front(self) -> Front:
        """The module between stored inputs and networks, on the device."""
        return self.dataset.front(self.team.device)

    @cached_property
    def views(self) -> Augmentations:
        """The augmented versions of the training split, the same for all entries."""
        augment = self.recipe.augment
        return self.dataset.input.augmentations(
            self.dataset.facts,
            examples=len(self.train),
            seed=self.params.seed,
            count=self.recipe.views if augment else 1,
            active=augment,
        )

    def load(self, name: str) -> torch.nn.Module:
        """A model of the project, checked, on the device.

        Raises:
            BadInput: If its folder is not complete, or was changed.
        """
        return to_device(
            load(self.root / MODELS / name, trusted=self.params.trusted), self.team.device
        )

    def architecture(self, name: str) -> Architecture:
        """The architecture of a model of the project."""
        return read_architecture(self.root / MODELS / name)

    def lineage(self, name: str) -> dict[str, Any]:
        """Where a model of the project comes from."""
        lineage: dict[str, Any] = files.read_json(self.root / MODELS / name / LINEAGE)
        return lineage

    def from_labels(self) -> Objective:
        """The objective without a teacher."""
        return from_labels(self.recipe.label_smoothing, task=self.task)

    @property
    def progress(self) -> Path:
        """Where this job saves how far it is: outside the stage's outputs, under the hash of its inputs."""
        return self.root / STATE / "checkpoints" / f"{self.name}-{self.key[:32]}"

    def fit(
        self,
        network: torch.nn.Module,
        objective: Objective,
        *,
        part: str = "fit",
        recipe: Recipe | None = None,
    ) -> list[Row]:
        """Train a network of this job; returns the history.

        Args:
            network: Trained in place.
            objective: What is minimised.
            part: The name of this training among those of the job, each of which is resumed by
                itself.
            recipe: Its knobs, if they are not those of the entry.
        """
        recipe = recipe or self.recipe
        if not recipe.epochs:
            return []
        with Reporter(self.name, recipe.epochs, self.task.headline) as report:
            return fit(
                network,
                self.train,
                Inference(self.open("validation"), self.front, task=self.task),
                objective,
                recipe,
                views=self.views,
                front=self.front,
                team=self.team,
                checkpoints=Checkpoints(self.progress / part),
                report=report,
            )

    def weights_hash(self, name: str) -> str:
        """The SHA-256 of the weights of a model of the project.

        Raises:
            BadInput: If its folder is not complete, or was changed.
        """
        return files.verify(self.root / MODELS / name)[WEIGHTS]


def _recipe(entry: Teacher | Entry, params: Params) -> Recipe:
    return params.recipe(
        entry.finetune if isinstance(entry, Recovered) else getattr(entry, "overrides", {})
    )


def device_name(device: torch.device) -> str:
    """The GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
