"""A new network of the user's own code, checked before it is trained."""

import tempfile
from pathlib import Path

import torch
from torch import nn

from espalier.data.names import VALIDATION
from espalier.errors import BadInput, reason_of
from espalier.export.onnx import export
from espalier.making.job import Job
from espalier.models.graph import evaluating
from espalier.own_functions import LIBRARIES
from espalier.params import BaseEntry
from espalier.training.heads import heads_of

_COMPARED = 2  # validation examples on which the exported file is compared with the network


def check_own_network(job: Job[BaseEntry], network: nn.Module) -> None:
    """Refuse a network whose outputs are not those of the task, or that cannot be exported.

    A network that is mended after its training is another one, and is trained again; outputs of a wrong
    width may even be trained without an error. Networks of libraries are known to be right.

    Args:
        job: entry with a factory.
        network: new network on the processor; it is not changed.

    Raises:
        BadInput: if it fails, has other outputs, or torch cannot export it.
    """
    factory = str(job.entry.factory)
    if factory.partition(":")[0] in LIBRARIES:
        return
    _check_outputs(job, network, factory)
    job.project.drafts.mkdir(parents=True, exist_ok=True)
    inputs, _ = job.data.stored(VALIDATION)
    with tempfile.TemporaryDirectory(dir=job.project.drafts, prefix="export.") as folder:
        export(
            network,
            Path(folder, "model.onnx"),
            inputs[:_COMPARED],
            job.data.deployed_front,
            job.runtime,
            readout=job.data.readout,
            names=job.data.names,
        )


def _check_outputs(job: Job[BaseEntry], network: nn.Module, factory: str) -> None:
    example = job.data.example().cpu()
    try:
        with evaluating(network), torch.no_grad():
            heads = heads_of(network(example))
    except Exception as error:  # the code of the user may raise anything
        raise BadInput(
            f"Expected the network of {factory} to take inputs of shape {tuple(example.shape)}; found "
            f"{type(error).__name__}: {reason_of(error)}."
        ) from error
    found = tuple(next(iter(heads.values())).shape)
    width = job.data.task.width(job.data.dataset.classes)
    if found != (len(example), width):
        raise BadInput(
            f"Expected the network of {factory} to give outputs of shape {(len(example), width)} for "
            f"{len(example)} examples, {width} for each; found {found}. `classes` is the number of outputs."
        )
