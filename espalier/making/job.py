"""One entry of `params.yaml`, to be made into a model."""

import platform
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from espalier import __version__, files
from espalier.errors import BadInput, TryAgain
from espalier.making.kept import Kept
from espalier.making.own_code import own_code
from espalier.making.project import Project
from espalier.making.room import require_room
from espalier.making.training_data import TrainingData
from espalier.measures.device import device_name
from espalier.params import BaseEntry, Params, read_params
from espalier.params.lineage import declared_inputs
from espalier.paths import ARCHITECTURE, MODELS, PARAMS
from espalier.prediction import CLASSIFICATION
from espalier.runtimes import Runtime, runtime_named
from espalier.training.checkpoint import Checkpoints
from espalier.training.device import join_process_group
from espalier.training.engine import fit
from espalier.training.history import Reporter, Row
from espalier.training.loss_inputs import Objective
from espalier.training.process_group import ProcessGroup
from espalier.training.recipe import Recipe

_NAMED = ("recipe", "models", "files", "code")  # inputs that are mappings by names the user knows

EntryType = TypeVar("EntryType", bound=BaseEntry, covariant=True)


@dataclass(frozen=True)
class Job(Generic[EntryType]):
    """One entry of `params.yaml`, to be made into a model.

    Attributes:
        name: name of the entry.
        entry: operation and its keys.
        params: content of `params.yaml`.
        project: finished models.
        processes: processes that work on it, and their device.
    """

    name: str
    entry: EntryType
    params: Params
    project: Project
    processes: ProcessGroup

    @classmethod
    def of(cls, root: Path, name: str, params: Params) -> "Job[Any]":
        """The job of an entry, on the device of this process."""
        entry = params.entry(name)
        processes = join_process_group(params.recipe(entry.recipe_keys))
        return cls(name, entry, params, Project(root, params, processes.device), processes)  # type: ignore[arg-type]

    def with_seed(self, seed: int) -> "Job[EntryType]":
        """The same job with another seed."""
        return replace(self, params=self.params.model_copy(update={"seed": seed}))

    @cached_property
    def alone(self) -> "Job[EntryType]":
        """The same job for work of this process alone, with the data that are open."""
        job = replace(self, processes=self.processes.alone)
        vars(job)["data"] = self.data
        return job

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the training, or of the recovery."""
        return self.params.recipe(self.entry.recipe_keys)

    @cached_property
    def data(self) -> TrainingData:
        """The prepared data.

        Raises:
            BadInput: if the parent's network answers other classes than the entry.
        """
        data = TrainingData(
            self.project.prepared,
            self.recipe,
            self.params.seed,
            self.processes.device,
            self._preprocessing,
            self.params.concepts(self.name),
        )
        self._refuse_other_classes(data)
        return data

    def _refuse_other_classes(self, data: TrainingData) -> None:
        """Refuse the network of a parent that was made before its `classes` changed.

        Raises:
            BadInput: if it was.
        """
        parent = self.entry.origin
        if parent is None or self.entry.factory is not None:
            return
        found = self.project.architecture(parent).concepts
        own = None if data.concepts is None else data.concepts.as_json()
        if found != own:
            raise BadInput(
                f"Expected {parent}, the parent of {self.name}, to answer {_listed(own)}, as "
                f"{PARAMS} says; found a model of {_listed(found)}. Make {parent} first."
            )

    @property
    def _preprocessing(self) -> dict[str, Any] | None:
        """The preprocessing that the network brings along, from its entry or with its parent."""
        if self.entry.factory is None and self.entry.origin is not None:
            return self.project.architecture(self.entry.origin).preprocessing
        return self.entry.preprocessing

    @property
    def runtime(self) -> Runtime:
        """The runtime that executes deployed files."""
        return runtime_named(self.params.evaluation.runtime)

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """Everything that determines the bits of the result."""
        return {
            **declared_inputs(self.params, self.name),
            "data": self.data.version,
            "models": {name: self.project.identity(name) for name in self.entry.dependencies},
            **self._architectures,
            **self._own_files,
            **self._own_code,
            "device": device_name(self.processes.device),
            "processes": self.entry.processes,
            "versions": {
                "espalier": __version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
                self.runtime.name: self.runtime.version,
                **self.data.decoder_versions,
            },
        }

    @property
    def _architectures(self) -> dict[str, dict[str, str]]:
        """SHA-256 of the architectures of the models: equal weights give other outputs in another network."""
        models = self.entry.dependencies
        hashes = {name: self.project.hashes(name)[ARCHITECTURE] for name in models}
        return {"architectures": hashes} if hashes else {}

    @property
    def _own_files(self) -> dict[str, dict[str, str]]:
        """SHA-256 of the files of the user that the entry names; empty if there are none."""
        if not self.entry.own_files:
            return {}
        root = self.project.root
        missing = [name for name in self.entry.own_files if not (root / name).is_file()]
        if missing:
            raise BadInput(
                f"Expected {root / missing[0]}, which {self.name} of params.yaml names, to be a "
                "file; found none."
            )
        return {"files": {name: files.sha256(root / name) for name in self.entry.own_files}}

    @property
    def _own_code(self) -> dict[str, dict[str, str]]:
        """Hash of the user's packages that build the networks of the job; empty if there are none."""
        factories = {self.project.architecture(name).factory for name in self.entry.dependencies}
        if self.entry.factory is not None:
            factories.add(self.entry.factory)
        code = own_code([*factories, *self.entry.own_functions])
        return {"code": code} if code else {}

    @cached_property
    def key(self) -> str:
        """Hash of the inputs: two jobs with the same key have the same result, bit for bit."""
        return files.digest(self.inputs)

    def refuse_changed_inputs(self) -> None:
        """Refuse to publish a result whose inputs are no longer the files' content.

        DVC records parameters and dependencies as they are when a stage ends, so an edit during the
        training would be recorded as an input of a model that has not seen it.

        Raises:
            TryAgain: if they changed; the next attempt starts from what they are then.
            BadInput: if `params.yaml` is not valid any more, or has no such entry.
        """
        root, params = self.project.root, read_params(self.project.root)
        project = Project(root, params, self.processes.device)
        now: Job[Any] = Job(self.name, params.entry(self.name), params, project, self.processes)
        changed = _changed(self.inputs, now.inputs)
        if changed:
            raise TryAgain(
                f"Expected the inputs of {self.name} to stay as they were when it began; found other "
                f"{', '.join(changed)} when it ended. Its checkpoints are kept for the former ones."
            )

    @property
    def kept(self) -> Kept:
        """The copy of the model that survives DVC's removal of the output."""
        return Kept(self.project.root, f"{MODELS}/{self.name}")

    @property
    def checkpoints(self) -> Path:
        """Folder of this job's checkpoints, outside the outputs of the stage."""
        return self.project.state("checkpoints") / f"{self.name}-{self.key[:32]}"

    def fit(
        self,
        network: nn.Module,
        objective: Objective,
        *,
        part: str = "fit",
        recipe: Recipe | None = None,
    ) -> list[Row]:
        """Train a network in place.

        Args:
            network: network of this job.
            objective: loss to be minimised.
            part: name of this training, if the job has several; each is resumed by itself.
            recipe: recipe of this training; by default the recipe of the entry.

        Returns:
            The history, a row per epoch.

        Raises:
            TryAgain: if the disk has too little space for checkpoints and model.
        """
        recipe, data = recipe or self.recipe, self.data
        if not recipe.epochs:
            return []
        if recipe.sampler == "balanced" and data.task.name != CLASSIFICATION.name:
            raise BadInput(
                f"Expected `sampler: balanced` of {self.name} with a classification; found the task "
                f"`{data.task.name}`."
            )
        if self.processes.size > 1 and recipe.batch_size > len(data.train):
            raise BadInput(
                f"Expected `batch_size` of {self.name}, which several processes train, to be at most the "
                f"number of training examples, {len(data.train)}; found {recipe.batch_size}."
            )
        if self.processes.rank == 0:
            model = self.project.folder(self.name)
            require_room(network, objective, recipe, self.checkpoints / part, model)
        with Reporter(self.name, recipe.epochs, data.task.headline) as report:
            return fit(
                network,
                data.train,
                data.validation,
                objective,
                recipe,
                augmentations=data.augmentations,
                front=data.front,
                processes=self.processes,
                checkpoints=Checkpoints(self.checkpoints / part),
                report=report,
            )


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The inputs that differ, of some with the names that do: `code` (networks)."""
    changed = []
    for key in {**before, **now}:
        former, own = before.get(key), now.get(key)
        if former != own:
            names = _different(former or {}, own or {}) if key in _NAMED else []
            changed.append(f"`{key}` ({', '.join(names)})" if names else f"`{key}`")
    return changed


def _different(former: dict[str, Any], own: dict[str, Any]) -> list[str]:
    return sorted(name for name in {**former, **own} if former.get(name) != own.get(name))


def _listed(concepts: dict[str, list[str]] | None) -> str:
    return "all classes of the data" if concepts is None else ", ".join(concepts)
