"""`by: distill`."""

from espalier.making.job import Job
from espalier.making.networks import new, refuse_quantized
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_from_teacher
from espalier.measures.macs import count_macs
from espalier.params import Distill


def distill(job: Job) -> OperationResult:
    """Train a new network on the labels and its parent's answers."""
    entry = job.entry
    assert isinstance(entry, Distill)
    refuse_quantized(job)
    network = new(job, entry.model, entry)
    history = job.fit(network, objective_from_teacher(job, entry.parent, network))
    return OperationResult(network, count_macs(network, job.dataset.example()), history)
