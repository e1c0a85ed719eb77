"""`by: train`."""

from espalier.measures.macs import count_macs
from espalier.params import Teacher, Train
from espalier.steps.job import Job
from espalier.steps.operations.made import Made
from espalier.steps.operations.networks import new, parent


def train(job: Job) -> Made:
    """Train on labels alone: a new network, or the parent further."""
    entry = job.entry
    assert isinstance(entry, Teacher | Train)
    network = new(job, entry.model, entry) if entry.model else parent(job)
    history = job.fit(network, job.from_labels())
    base = None if entry.model else job.lineage(str(job.parent))["base_macs"]
    return Made(network, base or count_macs(network, job.dataset.shape), history)
