"""The networks that operations start from."""

from dataclasses import replace

from torch import nn

from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.onnx_file import read_program
from espalier.making.own_network import check_own_network
from espalier.measures.macs import count_macs
from espalier.models.architecture import architecture_of
from espalier.models.build import build
from espalier.models.onnx_import import OnnxProgram
from espalier.params import BaseEntry, ChildEntry, Teacher
from espalier.params.entry import Further
from espalier.seeds import seed_all


def new_network(job: Job[BaseEntry], program: OnnxProgram | None = None) -> nn.Module:
    """A new network from the factory of the entry, with weights drawn from the project's seed.

    Args:
        job: entry with a factory.
        program: content of the ONNX file that the entry names; it is read here if it is not given.

    Raises:
        BadInput: if the factory is unknown or not trusted, or the file cannot be read.
    """
    factory = str(job.entry.factory)
    if program is None and job.entry.onnx_file:
        program = read_program(job)
    own = program.arguments if program else job.entry.factory_arguments
    seed_all(job.params.seed, "weights", factory)
    network = build(
        factory,
        classes=job.data.task.width(job.data.dataset.classes),
        shape=job.data.input_shape,
        arguments=own if program else job.data.dataset.network_arguments() | own,
        trusted=job.params.trusted,
    )
    concepts = job.data.concepts
    architecture = replace(
        architecture_of(network),
        preprocessing=job.data.preprocessing,
        concepts=None if concepts is None else concepts.as_json(),
    )
    return architecture.attach(network)


def parent_network(job: Job[ChildEntry]) -> nn.Module:
    """The network of the parent.

    Raises:
        BadInput: if the parent is quantized.
    """
    refuse_quantized(job, job.entry.parent)
    return job.project.load(job.entry.parent)


def network_to_train(job: Job[Teacher | Further]) -> nn.Module:
    """A new network, or without a factory the parent's, to be trained further.

    Raises:
        BadInput: if the parent is quantized, or the new network does not suit the task.
    """
    parent = job.entry.origin
    if job.entry.factory is None and parent is not None:
        refuse_quantized(job, parent)
        return job.project.load(parent)
    network = new_network(job)
    check_own_network(job, network)
    return network


def base_macs(job: Job[Teacher | Further], network: nn.Module) -> int:
    """Multiply-accumulates of the network, or of the ancestor of it that no pruning has touched."""
    if job.entry.factory is None and job.entry.origin is not None:
        return job.project.base_macs(job.entry.origin)
    return count_macs(network, job.data.example().cpu())


def refuse_quantized(job: Job[BaseEntry], parent: str) -> None:
    """Refuse a parent in integers, which can be neither trained nor pruned.

    Raises:
        BadInput: if the parent is quantized.
    """
    if job.project.architecture(parent).quantization:
        raise BadInput(
            f"Expected models.{job.name}.from to name a model in floating point; found {parent!r}, "
            "which is quantized: quantize last."
        )
