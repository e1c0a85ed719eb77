"""`by: factorize`."""

from espalier.factorization import factorize
from espalier.making.job import Job
from espalier.making.networks import parent
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_from_teacher
from espalier.measures.macs import count_parameters
from espalier.params import Factorize
from espalier.paths import TEACHER
from espalier.training.recalibrate import recalibrate


def factorized(job: Job) -> OperationResult:
    """Factorize the parent, recompute its batch norms, and fine-tune by distillation."""
    entry = job.entry
    assert isinstance(entry, Factorize)
    network = parent(job)
    lineage = job.lineage(entry.parent)
    base_macs = int(lineage["base_macs"])
    base_parameters = int(lineage.get("base_parameters", count_parameters(network)))
    network = factorize(
        network,
        job.dataset.example(job.team.device),
        keep_macs=entry.keep_macs,
        keep_parameters=entry.keep_parameters,
        align=entry.align,
        keep=entry.keep,
        base=base_macs if entry.keep_macs is not None else base_parameters,
    )
    recalibrate(network, job.train, job.front)
    history = job.fit(network, objective_from_teacher(job, TEACHER, network))
    return OperationResult(network, base_macs, history)
