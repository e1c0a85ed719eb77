"""`by: train`."""

from torch import nn

from espalier.distillation.objectives import from_labels
from espalier.making.job import Job
from espalier.making.networks import new_network, refuse_quantized
from espalier.making.own_network import check_own_network
from espalier.making.questions import class_weights
from espalier.making.result import OperationResult
from espalier.measures.macs import count_macs
from espalier.params import Teacher, Train


def train(job: Job[Teacher | Train]) -> OperationResult:
    """Train on labels alone: a new network, or the parent further."""
    parent = job.entry.origin if job.entry.factory is None else None
    network = _new_network(job) if parent is None else _parent_network(job, parent)
    weights = class_weights(job, job.entry.class_weights)
    objective = from_labels(job.recipe.label_smoothing, task=job.data.task, class_weights=weights)
    history = job.fit(network, objective)
    if parent is None:
        return OperationResult(network, count_macs(network, job.data.example().cpu()), history)
    return OperationResult(network, job.project.base_macs(parent), history)


def _new_network(job: Job[Teacher | Train]) -> nn.Module:
    network = new_network(job)
    check_own_network(job, network)
    return network


def _parent_network(job: Job[Teacher | Train], parent: str) -> nn.Module:
    refuse_quantized(job, parent)
    return job.project.load(parent)
