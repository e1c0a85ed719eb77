"""`espalier show`: the tree of models with its figures, or the layers of one of them."""

from pathlib import Path

import pandas as pd
from torch import nn

from espalier.distillation import features
from espalier.distillation.features import Layer, default_pairs
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import new
from espalier.making.teaching import example_of
from espalier.params import Distill, Taught, Teacher, Train, read_params
from espalier.paths import MANIFEST, MODELS, REPORTS, TABLE, TEACHER
from espalier.report.terminal import print_layers, print_tree


def run(root: Path, name: str | None = None) -> None:
    """Print the figures of the last evaluation, or the layers of a model that can be paired with its teacher's.

    Raises:
        BadInput: If there has been no evaluation, or no such model.
    """
    if name is not None:
        job = Job.of(root, name, read_params(root))
        teacher = _teacher(job)
        theirs = _layers(Job.of(root, teacher, job.params)) if teacher else []
        ours = _layers(job)
        return print_layers(_shapes(ours), teacher, _shapes(theirs), default_pairs(ours, theirs))
    path = root / REPORTS / TABLE
    if not path.is_file():
        raise BadInput(
            f"Expected {path} to exist; found nothing there: run `espalier run` or `dvc repro` "
            "first."
        )
    return print_tree(pd.read_csv(path, keep_default_na=False))  # a model may be called nan


def _teacher(job: Job) -> str | None:
    """Who teaches a job's network, if anybody does."""
    if not isinstance(job.entry, Taught):
        return None
    return (
        job.entry.teachers[0]
        if job.entry.teachers
        else job.parent
        if isinstance(job.entry, Distill)
        else TEACHER
    )


def _layers(job: Job) -> list[Layer]:
    return features.layers(_network(job).to(job.team.device), example_of(job))


def _network(job: Job) -> nn.Module:
    """The network of a job, made or as it would be built.

    Raises:
        BadInput: If it was not made, and nobody knows before what it will be.
    """
    if (job.root / MODELS / job.name / MANIFEST).is_file():
        return job.load(job.name)
    entry = job.entry
    if isinstance(entry, Teacher | Train | Distill) and entry.model:
        return new(job, entry.model, entry)
    raise BadInput(
        f"Expected {job.name} to be made before its layers can be listed: run `espalier make "
        f"{job.name}`; found no model."
    )


def _shapes(found: list[Layer]) -> dict[str, tuple[int, int, int]]:
    return {layer.name: layer.shape for layer in found}
