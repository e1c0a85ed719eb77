"""The layers of a model beside those of its teacher, for `espalier show NAME`."""

from pathlib import Path
from typing import Any

from torch import nn

from espalier.distillation import features
from espalier.distillation.features import Layer, default_pairs
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import new_network
from espalier.params import read_params
from espalier.paths import MANIFEST
from espalier.report.terminal import print_layers


def show_layers(root: Path, name: str) -> None:
    """Print the layers of a model, and those of its teacher that they are paired with by default.

    Args:
        root: the project.
        name: name of the model.

    Raises:
        BadInput: if there is no such model, or it was not made yet.
    """
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
