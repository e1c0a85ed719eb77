"""`by: train`."""

from espalier.distillation.objectives import from_labels
from espalier.making.job import Job
from espalier.making.networks import base_macs, network_to_train
from espalier.making.questions import class_weights
from espalier.making.result import OperationResult
from espalier.params import Teacher, Train


def train(job: Job[Teacher | Train]) -> OperationResult:
    """Train on labels alone: a new network, or the parent further."""
    network = network_to_train(job)
    weights = class_weights(job, job.entry.class_weights)
    objective = from_labels(job.recipe.label_smoothing, task=job.data.task, class_weights=weights)
    history = job.fit(network, objective)
    return OperationResult(network, base_macs(job, network), history)
