"""`espalier show`: the tree of models with its figures, or the layers of one of them."""

from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from espalier import records
from espalier.distillation import features
from espalier.distillation.features import Layer, default_pairs
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import new_network
from espalier.params import read_params
from espalier.paths import CONDITIONS, MANIFEST, REPORTS, TABLE
from espalier.prediction import CLASSIFICATION, task_named
from espalier.reading import naming
from espalier.report.terminal import print_layers, print_tree


def run(root: Path, name: str | None = None) -> None:
    """Print the figures of the last evaluation, or the layers of a model beside those of its teacher.

    Raises:
        BadInput: if there has been no evaluation, or no such model.
    """
    if name is not None:
        return _print_layers(root, name)
    path = root / REPORTS / TABLE
    if not path.is_file():
        raise BadInput(
            f"Expected {path} to exist; found nothing there: run `espalier run` or `dvc repro` "
            "first."
        )
    measured = root / REPORTS / CONDITIONS
    conditions = (
        records.read_record(measured, records.ConditionsRecord) if measured.is_file() else {}
    )
    task = conditions.get("task", CLASSIFICATION.name)  # earlier versions knew no other
    with naming(measured):
        headline = task_named(task).headline
    records.read_models_table(path, headline.name)
    table = pd.read_csv(path, keep_default_na=False)  # nan is a valid name
    return print_tree(table, headline)


def _print_layers(root: Path, name: str) -> None:
    job = Job.of(root, name, read_params(root))
    teacher = job.entry.teaching[0] if job.entry.teaching else None
    teacher_layers = _layers(Job.of(root, teacher, job.params)) if teacher else []
    own_layers = _layers(job)
    pairs = default_pairs(own_layers, teacher_layers)
    print_layers(_shapes(own_layers), teacher, _shapes(teacher_layers), pairs)


def _layers(job: Job[Any]) -> list[Layer]:
    network = _network(job).to(job.processes.device)
    return features.layers(network, job.data.front_of_zeros())


def _network(job: Job[Any]) -> nn.Module:
    """The network of a job, from its folder or as its factory builds it.

    Raises:
        BadInput: if it is made from its parent's network and was not made yet.
    """
    if (job.project.folder(job.name) / MANIFEST).is_file():
        return job.project.load(job.name)
    if job.entry.factory is not None:
        return new_network(job)
    raise BadInput(
        f"Expected {job.name} to be made before its layers can be listed: run `espalier make "
        f"{job.name}`; found no model."
    )


def _shapes(found: list[Layer]) -> dict[str, tuple[int, int, int]]:
    return {layer.name: layer.shape for layer in found}
