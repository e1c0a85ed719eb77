"""The part of `espalier evaluate` that asks networks why: where they look, and what their layers are worth."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from espalier import files
from espalier.data.names import VALIDATION
from espalier.data.prepared import Split, StreamedSplit, open_split, read_dataset
from espalier.errors import BadInput
from espalier.judging import answers
from espalier.measures.macs import count_macs
from espalier.models.folder import load
from espalier.params import Distill, Params, Prune
from espalier.paths import ACTIVITY, CUT, LOOKS, MODELS, PREPARED, SENSITIVITY, TEACHER
from espalier.pruning.dependency_groups import DependencyGroups, find_dependency_groups
from espalier.pruning.kept_outputs import KeptOutputs
from espalier.report.understanding.ablation import halves, plan, rises
from espalier.report.understanding.activity import activity, sizes
from espalier.report.understanding.informative_examples import spread, telling
from espalier.report.understanding.saliency import look
from espalier.training.batches import Resident
from espalier.training.device import default_device, to_device
from espalier.training.scoring import Inference
from espalier.training.views import normaliser

_IMAGES = 6  # that are shown
_COMPARED = 64  # that models are compared by, where that is cheap
_MACS = 1e11  # of all that looking at these takes, a pass back as two passes
_MODELS = 6  # that look at them: the teacher, those on the front, and others
_BATCH = 32


def understand(
    root: Path,
    reports: Path,
    params: Params,
    test: Split,
    logits: Mapping[str, np.ndarray],
    front: Sequence[str],
) -> None:
    """Write into `reports` where models look, what their layers are worth, and what was cut from them did before.

    Args:
        root: The project.
        reports: A draft of its reports.
        params: Its parameters.
        test: Its test images and their labels.
        logits: What each deployed file answers to the test images (N, classes), by model.
        front: The models that no other beats.
    """
    torch.set_num_threads(params.evaluation.threads)
    project = _Project(root, params)
    if find_spec("captum"):
        _look(
            project,
            reports / LOOKS,
            test,
            {name: answers(own) for name, own in logits.items()},
            front,
        )
    _measure(project, reports)


class _Project:
    """Networks and images of a project, on the device there is."""

    def __init__(self, root: Path, params: Params) -> None:
        self.root, self.params, self.device = root, params, default_device()
        self.dataset = read_dataset(root / PREPARED)
        self.look = normaliser(self.dataset.mean, self.dataset.std, self.device)

    def network(self, name: str) -> nn.Module:
        """The network of a model, in evaluation mode."""
        return to_device(load(self.root / MODELS / name, trusted=self.params.trusted), self.device)


def _look(
    project: _Project,
    path: Path,
    test: Split,
    predicted: Mapping[str, np.ndarray],
    front: Sequence[str],
) -> None:
    names = list(dict.fromkeys([TEACHER, *front, *predicted]))[:_MODELS]
    labels = test.labels.numpy()
    shown = telling(labels, predicted, TEACHER, _IMAGES)
    work = 3 * len(names) * count_macs(project.network(TEACHER), project.dataset.shape)
    others = spread(len(labels), min(_COMPARED, int(_MACS / max(1, work))))
    examples = shown + (others if len(others) > len(shown) else [])
    images = project.look(test.images[examples].to(project.device))
    networks = ((name, project.network(name)) for name in predicted if name in names)
    answered = {name: predicted[name][examples] for name in names}
    look(networks, images, answered, labels[shown], shown).write(path)


def _measure(project: _Project, reports: Path) -> None:
    """What half of each layer is worth, in the networks that were pruned, and how active was what they lost."""
    found = dict(_with_units(project, _questioned(project.params)))
    counts = {
        name: (network, len(halves(network, units))) for name, (network, units) in found.items()
    }
    planned = plan(counts, project.dataset.shape, project.device)
    every = open_split(project.root / PREPARED, VALIDATION)
    split = _some(every, spread(len(every), planned.images))
    validation = Inference(Resident(split, project.device), project.look, _BATCH)
    sensitive, active = [], []
    for name, (network, units) in found.items():
        rows = rises(network, units, validation, planned.layers)
        sensitive.append(rows.assign(model=name, images=len(split.labels)))
        if cuts := _cuts(project, name):
            batches = (
                project.look(batch.to(project.device)) for batch in split.images.split(_BATCH)
            )
            size = sizes(network, units, batches)
            active += [
                activity(units, size, survivors).assign(model=child)
                for child, survivors in cuts.items()
            ]
    for path, tables in ((reports / SENSITIVITY, sensitive), (reports / ACTIVITY, active)):
        if tables:
            pd.concat(tables).to_csv(path, index=False)


def _some(split: StreamedSplit, examples: Sequence[int]) -> Split:
    """Some examples of a split, in memory."""
    found = [split[example] for example in examples]
    return Split(
        torch.stack([image for image, _, _ in found]), torch.stack([label for _, label, _ in found])
    )


def _questioned(params: Params) -> list[str]:
    """The models that something was pruned from; if there are none, the teacher and its students."""
    pruned = {entry.parent for entry in params.models.values() if isinstance(entry, Prune)}
    taught = {name for name, entry in params.models.items() if isinstance(entry, Distill)}
    return [name for name in params.names if name in (pruned or {TEACHER, *taught})]


def _with_units(
    project: _Project, names: Sequence[str]
) -> Iterator[tuple[str, tuple[nn.Module, DependencyGroups]]]:
    """The networks that can be traced, and what can be removed from them."""
    for name in names:
        network = project.network(name)
        try:
            yield (
                name,
                (
                    network,
                    find_dependency_groups(
                        network, torch.zeros(2, *project.dataset.shape, device=project.device)
                    ),
                ),
            )
        except BadInput:  # it cannot be traced, so that nothing can be pruned from it either
            continue


def _cuts(project: _Project, parent: str) -> dict[str, KeptOutputs]:
    """What is left of a model in those that were pruned from it, where they tell."""
    found = {}
    for name, entry in project.params.models.items():
        path = project.root / MODELS / name / CUT
        if isinstance(entry, Prune) and entry.parent == parent and path.is_file():
            found[name] = KeptOutputs.from_json(files.read_json(path))
    return found
