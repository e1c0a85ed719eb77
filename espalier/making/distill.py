"""`by: distill`."""

from espalier.making.job import Job
from espalier.making.networks import new_network, refuse_quantized
from espalier.making.own_network import check_own_network
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_of
from espalier.measures.macs import count_macs
from espalier.params import Distill


def distill(job: Job[Distill]) -> OperationResult:
    """Train a new network on the labels and the outputs of its teachers."""
    refuse_quantized(job, job.entry.parent)
    network = new_network(job)
    check_own_network(job, network)
    history = job.fit(network, objective_of(job, network))
    return OperationResult(network, count_macs(network, job.data.example().cpu()), history)
