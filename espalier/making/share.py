"""`by: share`."""

from torch import nn

from espalier import coding
from espalier.coding.rate import WithRate, reparametrise, round_to_steps
from espalier.coding.share import round_centroids, round_vectors
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import parent_network
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_of
from espalier.params import Share
from espalier.params.share import Widths
from espalier.training.history import Row


def share(job: Job[Share]) -> OperationResult:
    """Share the weights of the parent in codebooks, and recover by distillation."""
    share_weights = _share_by_rate if job.entry.method == "rate" else _share_by_kmeans
    network, history = share_weights(job, parent_network(job))
    return OperationResult(network, job.project.base_macs(job.entry.parent), history)


def _share_by_kmeans(job: Job[Share], network: nn.Module) -> tuple[nn.Module, list[Row]]:
    entry, widths = job.entry, job.entry.bits
    bits = coding.Bits(widths.conv, widths.linear) if isinstance(widths, Widths) else widths
    network = coding.share(network, bits=bits, price=entry.price, vectors=entry.vectors)
    history = job.fit(network, objective_of(job, network))
    round_centroids(network)
    if entry.vectors == "half":
        round_vectors(network)
    return network, history


def _share_by_rate(job: Job[Share], network: nn.Module) -> tuple[nn.Module, list[Row]]:
    entry = job.entry
    if not job.recipe.epochs:
        raise BadInput(
            f"Expected models.{job.name}.finetune.epochs of at least 1 for `method: rate`; found 0."
        )
    objective = objective_of(job, network)
    vectors = [name for name, value in network.named_parameters() if value.ndim <= 1]
    weights = [name for name, value in network.named_parameters() if value.ndim > 1]
    reparametrise(network, weights, fineness=entry.fineness.weights)
    if entry.vectors == "shared":
        reparametrise(network, vectors, fineness=entry.fineness.vectors)
    history = job.fit(network, WithRate(objective, network, entry.rate))
    round_to_steps(network)
    if entry.vectors == "half":
        round_vectors(network)
    return network, history
