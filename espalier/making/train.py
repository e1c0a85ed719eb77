"""`by: train`."""

from espalier.making.job import Job
from espalier.making.networks import new, parent
from espalier.making.result import OperationResult
from espalier.measures.macs import count_macs
from espalier.params import Teacher, Train


def train(job: Job) -> OperationResult:
    """Train on labels alone: a new network, or the parent further."""
    entry = job.entry
    assert isinstance(entry, Teacher | Train)
    network = new(job, entry.model, entry) if entry.model else parent(job)
    history = job.fit(network, job.from_labels())
    base = None if entry.model else job.lineage(str(job.parent))["base_macs"]
    return OperationResult(network, base or count_macs(network, job.dataset.example()), history)
