"""`by: baseline`."""

from dataclasses import replace

from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import refuse_quantized
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_of
from espalier.models.renewing import with_new_weights
from espalier.params import Baseline, Imported
from espalier.training.device import to_device


def baseline(job: Job[Baseline]) -> OperationResult:
    """Train a network of the parent's shape from nothing, by distillation from the teacher."""
    parent = job.entry.parent
    refuse_quantized(job, parent)
    recipe = job.recipe
    if "epochs" not in job.entry.finetune:
        recipe = replace(recipe, epochs=epochs_until(job, parent))
    architecture = job.project.architecture(parent)
    new = with_new_weights(architecture, seed=job.params.seed, trusted=job.params.trusted)
    network = to_device(new, job.processes.device)
    history = job.fit(network, objective_of(job, network), recipe=recipe)
    return OperationResult(network, job.project.base_macs(parent), history)


def epochs_until(job: Job[Baseline], name: str) -> int:
    """The epochs of a model and its ancestors together, from the last new network on.

    A baseline is a new network: what its own parent cost is in its epochs.

    Raises:
        BadInput: if that network was trained elsewhere.
    """
    entry, total = job.params.entry(name), 0
    while True:
        if isinstance(entry, Imported):
            raise BadInput(
                f"Expected `finetune: {{epochs: ...}}` of {job.name}, whose ancestor was trained "
                "elsewhere; found none: give the number of epochs that it took there."
            )
        if isinstance(entry, Baseline):
            given = "epochs" in entry.finetune
            own = job.params.recipe(entry.finetune).epochs
            return total + (own if given else epochs_until(job, entry.parent))
        total += sum(job.params.recipe(keys).epochs for keys in entry.trainings)
        if entry.factory is not None or entry.origin is None:
            return total
        entry = job.params.entry(entry.origin)
