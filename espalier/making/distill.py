"""`by: distill`."""

from espalier.making.job import Job
from espalier.making.networks import base_macs, network_to_train, refuse_quantized
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_of
from espalier.params import Distill


def distill(job: Job[Distill]) -> OperationResult:
    """Train on the labels and the outputs of teachers: a new network, or the parent further."""
    refuse_quantized(job, job.entry.parent)
    network = network_to_train(job)
    history = job.fit(network, objective_of(job, network))
    return OperationResult(network, base_macs(job, network), history)
