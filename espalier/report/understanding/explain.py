"""The part of an evaluation that explains the networks: saliency, ablation, activity."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from espalier.data.names import TRAIN, VALIDATION
from espalier.data.prepared import Dataset, Split, read_dataset, read_split
from espalier.errors import BadInput
from espalier.inputs import Front
from espalier.measures.macs import count_macs
from espalier.models.folder import concepts_of, load, read_architecture
from espalier.params import Distill, Params, Prune
from espalier.paths import (
    ACTIVITY,
    CUT,
    MODELS,
    PREPARED,
    SALIENCY,
    SENSITIVITY,
    SURROGATES,
    TEACHER,
)
from espalier.prediction import CLASSIFICATION, Concepts, Heads, Multilabel, Task
from espalier.pruning.finding import find_dependency_groups
from espalier.pruning.groups import DependencyGroups, KeptOutputs
from espalier.report.understanding.ablation import (
    ablations,
    measure_ablations,
    plan_ablations,
)
from espalier.report.understanding.activity import activity, mean_activations
from espalier.report.understanding.features import interpretable_features
from espalier.report.understanding.informative_examples import evenly_spaced, informative_examples
from espalier.report.understanding.occlusion import occlusion
from espalier.report.understanding.saliency import AnyMap, saliency_maps
from espalier.report.understanding.surrogates import surrogates
from espalier.training.batches import Resident, open_examples
from espalier.training.device import default_device, to_device
from espalier.training.scoring import Inference

_IMAGES = 6  # images that are shown
_COMPARED = 64  # images over which maps are compared, where that is cheap
_MACS = 1e11  # of all maps together; a backward pass counts as two passes
_MODELS = 6  # models with maps: the teacher, the Pareto front, and others
_BATCH = 32
_FITTED = {TRAIN: 2000, VALIDATION: 1000}  # examples to which surrogates are fitted, and tested on
_SEVERAL = (Multilabel.name, Heads.name)  # tasks with several answers to an example
_PARTED = ("text", "table")  # kinds whose examples have parts in words
_PICTURED = ("image", "audio")  # kinds whose networks see channels and two axes of positions

Traced = tuple[nn.Module, DependencyGroups]


@dataclass(frozen=True)
class _Project:
    """The networks and images of a project, on one device.

    Attributes:
        root: root folder of the project.
        params: its parameters.
        dataset: description of its prepared data.
        device: device of the networks.
    """

    root: Path
    params: Params
    dataset: Dataset
    device: torch.device

    @classmethod
    def open(cls, root: Path, params: Params) -> "_Project":
        """Open a project on the default device."""
        dataset, device = read_dataset(root / PREPARED), default_device()
        return cls(root, params, dataset, device)

    @property
    def task(self) -> Task:
        """Task of the data."""
        return self.dataset.build_task()

    @property
    def has_maps(self) -> bool:
        """Whether there are saliency maps: of classes, over inputs that have a picture."""
        return self.task.name == CLASSIFICATION.name and self.dataset.kind in _PICTURED

    @property
    def has_parts(self) -> bool:
        """Whether parts of the inputs have words, and the answer is a single one."""
        return self.dataset.kind in _PARTED and self.task.name not in _SEVERAL

    def occluded(
        self, name: str, network: nn.Module, stored: torch.Tensor, answers: np.ndarray
    ) -> tuple[str, list[AnyMap]]:
        """A map (1, parts) of the support for each answer of a network."""
        explained = None
        if self.task.name == CLASSIFICATION.name:
            explained = torch.from_numpy(answers).clamp(min=0).to(stored.device)
        kind, facts = self.dataset.input, self.dataset.facts
        support = occlusion(
            network,
            self.front(name),
            stored,
            explained,
            lambda inputs, part: kind.without(inputs, part, facts),
        )
        return "", [row[None] for row in support]

    def concepts(self, name: str) -> Concepts | None:
        """The outputs of a model; None for all classes, one by one."""
        return self.dataset.concepts(concepts_of(self.root / MODELS / name))

    def network(self, name: str) -> nn.Module:
        """The network of a model, in evaluation mode."""
        network = load(self.root / MODELS / name, trusted=self.params.trusted)
        return to_device(network, self.device)

    def sample(self, split: str, most: int) -> Split:
        """Examples of a split, evenly spaced, in memory."""
        folder, device = self.root / PREPARED, torch.device("cpu")
        every = open_examples(folder, self.dataset, split, device, resident_bytes=0)
        (batch,) = every.batches([torch.tensor(evenly_spaced(len(every), most))])
        return Split(batch.inputs, batch.targets)

    def answers(self, name: str, split: Split) -> np.ndarray:
        """The answers (N, ...) of the network of a model to the examples of a split."""
        inference = Inference(
            Resident(split, self.device), self.front(name), _BATCH, task=self.task
        )
        outputs, _ = inference.outputs(self.network(name))
        return self.task.answers(inference.read_out(outputs).cpu().numpy())

    def front(self, name: str) -> Front:
        """The module between stored images and the network of a model."""
        return self.dataset.front(self.device, self._preprocessing(name))

    def example(self, name: str) -> torch.Tensor:
        """Two images as the network of a model sees them, to trace it."""
        return self.dataset.example(self.device, self._preprocessing(name))

    def _preprocessing(self, name: str) -> dict[str, Any] | None:
        return read_architecture(self.root / MODELS / name).preprocessing


def explain(
    root: Path,
    reports: Path,
    params: Params,
    test: Split,
    outputs: Mapping[str, np.ndarray],
    front: Sequence[str],
) -> None:
    """Write saliency maps, surrogates, the sensitivity of layers and the activity of removed channels.

    Args:
        root: root folder of the project.
        reports: draft of its reports, to write to.
        params: its parameters.
        test: its test split.
        outputs: outputs (N, ...) of each deployed file on the test split, by model, of the models
            that answer all classes.
        front: models on the Pareto front.
    """
    torch.set_num_threads(params.evaluation.threads)
    project = _Project.open(root, params)
    if find_spec("captum") and (project.has_maps or project.has_parts):
        predicted = {name: project.task.answers(own) for name, own in outputs.items()}
        _write_saliency(
            project,
            reports / SALIENCY,
            test,
            predicted,
            front,
        )
    if params.evaluation.surrogate_depth and project.task.name not in _SEVERAL:
        _write_surrogates(project, reports / SURROGATES, _shown(outputs, front))
    _write_ablations(project, reports)


def _write_saliency(
    project: _Project,
    path: Path,
    test: Split,
    predicted: Mapping[str, np.ndarray],
    front: Sequence[str],
) -> None:
    """Write the saliency maps of some models on informative test images."""
    names = _shown(predicted, front)
    labels = test.targets.numpy()
    scores = {name: project.task.scores(own, labels) for name, own in predicted.items()}
    shown = informative_examples(scores, predicted, TEACHER, _IMAGES)
    work = 3 * len(names) * count_macs(project.network(TEACHER), project.example(TEACHER))
    affordable = int(_MACS / max(1, work))
    others = evenly_spaced(len(labels), min(_COMPARED, affordable))
    examples = shown + (others if len(others) > len(shown) else [])
    stored = test.inputs[examples].to(project.device)
    answered = {name: predicted[name][examples] for name in names}
    if project.has_parts:
        parted = ((name, project.network(name), stored) for name in predicted if name in names)
        maps = saliency_maps(
            parted,
            answered,
            labels[shown],
            shown,
            project.occluded,
        )
    else:
        seen = (
            (name, project.network(name), project.front(name)(stored))
            for name in predicted
            if name in names
        )
        maps = saliency_maps(seen, answered, labels[shown], shown)
    maps.write(path)


def _shown(models: Iterable[str], front: Sequence[str]) -> list[str]:
    """The models that are explained: the teacher, the Pareto front, and others."""
    names = list(models)
    on_front = [name for name in front if name in names]
    return list(dict.fromkeys([TEACHER, *on_front, *names]))[:_MODELS]


def _write_surrogates(project: _Project, path: Path, names: Sequence[str]) -> None:
    """Write the surrogates of some models, if their inputs have features with a meaning."""
    fitted, tested = (project.sample(split, most) for split, most in _FITTED.items())
    features = interpretable_features(project.dataset, fitted.inputs, tested.inputs)
    if features is None:
        return
    answers = {
        name: (project.answers(name, fitted), project.answers(name, tested)) for name in names
    }
    depth = project.params.evaluation.surrogate_depth
    found = surrogates(features, answers, project.task, project.dataset.classes, depth)
    found.write(path)


def _write_ablations(project: _Project, reports: Path) -> None:
    """Write the sensitivity of the layers of pruned networks, and the activity of what they lost."""
    traced = dict(_traced(project, _explained(project.params)))
    work = {
        name: (
            count_macs(network, project.example(name)),
            len(ablations(network, groups)),
        )
        for name, (network, groups) in traced.items()
    }
    plan = plan_ablations(work, project.device)
    every = read_split(project.root / PREPARED, VALIDATION)
    chosen = list(evenly_spaced(len(every.targets), plan.images))
    split = Split(every.inputs[chosen], every.targets[chosen])
    sensitivities, activities = [], []
    for name, (network, groups) in traced.items():
        own = split.answered(project.concepts(name))
        if not len(own.targets):  # none of the chosen examples is of its classes
            continue
        validation = Inference(
            Resident(own, project.device), project.front(name), _BATCH, task=project.task
        )
        rows = measure_ablations(network, groups, validation, plan.layers)
        sensitivities.append(rows.assign(model=name, images=len(own.targets)))
        activities += _activities(project, name, network, groups, split)
    for path, tables in (
        (reports / SENSITIVITY, sensitivities),
        (reports / ACTIVITY, activities),
    ):
        if tables:
            pd.concat(tables).to_csv(path, index=False)


def _activities(
    project: _Project, name: str, network: nn.Module, groups: DependencyGroups, split: Split
) -> list[pd.DataFrame]:
    """The activity of what each child of a model has lost."""
    cuts = _cuts(project, name)
    if not cuts:
        return []
    front = project.front(name)
    batches = (front(batch.to(project.device)) for batch in split.inputs.split(_BATCH))
    means = mean_activations(network, groups, batches)
    return [activity(groups, means, kept).assign(model=child) for child, kept in cuts.items()]


def _explained(params: Params) -> list[str]:
    """The parents of pruned models; if there are none, the teacher and its students."""
    pruned = {entry.parent for entry in params.models.values() if isinstance(entry, Prune)}
    students = {name for name, entry in params.models.items() if isinstance(entry, Distill)}
    chosen = pruned or {TEACHER, *students}
    return [name for name in params.names if name in chosen]


def _traced(project: _Project, names: Sequence[str]) -> Iterator[tuple[str, Traced]]:
    """The networks that can be traced, with their dependency groups."""
    for name in names:
        network = project.network(name)
        try:
            groups = find_dependency_groups(network, project.example(name))
        except BadInput:  # a network that cannot be traced cannot be pruned either
            continue
        yield name, (network, groups)


def _cuts(project: _Project, parent: str) -> dict[str, KeptOutputs]:
    """The kept outputs of each model that was pruned from `parent`, where they are recorded."""
    cuts = {}
    for name, entry in project.params.models.items():
        path = project.root / MODELS / name / CUT
        if isinstance(entry, Prune) and entry.parent == parent and path.is_file():
            cuts[name] = KeptOutputs.read(path)
    return cuts
