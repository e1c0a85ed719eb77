"""`by: distill`."""

from espalier.measures.macs import count_macs
from espalier.params import Distill
from espalier.steps.job import Job
from espalier.steps.operations.made import Made
from espalier.steps.operations.networks import new, refuse_quantized


def distill(job: Job) -> Made:
    """Train a new network on the labels and its parent's answers."""
    entry = job.entry
    assert isinstance(entry, Distill)
    refuse_quantized(job)
    network = new(job, entry.model, entry)
    history = job.fit(network, job.from_teacher(entry.parent, network))
    return Made(network, count_macs(network, job.dataset.shape), history)
