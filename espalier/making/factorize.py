"""`by: factorize`."""

from espalier import factorization
from espalier.making.job import Job
from espalier.making.networks import parent_network
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_of
from espalier.measures.macs import count_parameters
from espalier.params import Factorize
from espalier.training.recalibrate import recalibrate


def factorize(job: Job[Factorize]) -> OperationResult:
    """Factorize the parent, recompute its batch norms, and recover by distillation."""
    entry = job.entry
    network = parent_network(job)
    macs = job.project.base_macs(entry.parent)
    parameters = job.project.base_parameters(entry.parent) or count_parameters(network)
    network = factorization.factorize(
        network,
        job.data.example(),
        keep_macs=entry.keep_macs,
        keep_parameters=entry.keep_parameters,
        align=entry.align,
        keep=entry.keep,
        base=macs if entry.keep_macs is not None else parameters,
    )
    recalibrate(network, job.data.train, job.data.front)
    history = job.fit(network, objective_of(job, network))
    return OperationResult(network, macs, history)
