"""The layers of a model, of images and clips beside those of its teacher, for `espalier show NAME`."""

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
from espalier.report.terminal import print_layers, print_weights


def show_layers(root: Path, name: str) -> None:
    """Print the layers of a model, and those of its teacher that they are paired with by default.

    Inputs without positions in two axes have no pairs: their layers are listed with their weights.

    Args:
        root: the project.
        name: name of the model.

    Raises:
        BadInput: if there is no such model, or it was not made yet.
    """
    job = Job.of(root, name, read_params(root))
    network = _network(job)
    if not features.has_positions(job.data.input_shape):
        print_weights(_weights(network))
        return
    teacher = job.entry.teaching[0] if job.entry.teaching else None
    teacher_layers = _layers_of(Job.of(root, teacher, job.params)) if teacher else []
    own_layers = _layers(job, network)
    pairs = default_pairs(own_layers, teacher_layers)
    print_layers(_shapes(own_layers), teacher, _shapes(teacher_layers), pairs)


def _layers_of(job: Job[Any]) -> list[Layer]:
    return _layers(job, _network(job))


def _layers(job: Job[Any], network: nn.Module) -> list[Layer]:
    return features.layers(network.to(job.processes.device), job.data.front_of_zeros())


def _weights(network: nn.Module) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Kind of each layer that has a weight of its own, and the shape of the first."""
    found = {}
    for name, layer in network.named_modules():
        own = next(layer.parameters(recurse=False), None)
        if name and own is not None:
            found[name] = (type(layer).__name__, tuple(own.shape))
    return found


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
