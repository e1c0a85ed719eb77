"""`by: share`."""

from torch import nn

from espalier.coding import Bits, share
from espalier.coding.rate import WithRate, reparametrise, round_to_steps
from espalier.coding.share import round_centroids, round_vectors
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import parent
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_from_teacher
from espalier.params import Share
from espalier.params.share import Widths
from espalier.paths import TEACHER
from espalier.training.history import Row


def shared(job: Job) -> OperationResult:
    """Give the parent's weights codebooks, and fine-tune by distillation from the teacher."""
    entry = job.entry
    assert isinstance(entry, Share)
    base = int(job.lineage(entry.parent)["base_macs"])
    share_weights = _share_by_rate if entry.method == "rate" else _share_by_kmeans
    network, history = share_weights(job, entry, parent(job))
    return OperationResult(network, base, history)


def _share_by_kmeans(job: Job, entry: Share, network: nn.Module) -> tuple[nn.Module, list[Row]]:
    widths = entry.bits
    bits = Bits(widths.conv, widths.linear) if isinstance(widths, Widths) else widths
    network = share(network, bits=bits, price=entry.price, vectors=entry.vectors)
    history = job.fit(network, objective_from_teacher(job, TEACHER, network))
    round_centroids(network)
    if entry.vectors == "half":
        round_vectors(network)
    return network, history


def _share_by_rate(job: Job, entry: Share, network: nn.Module) -> tuple[nn.Module, list[Row]]:
    if not job.recipe.epochs:
        raise BadInput(
            f"Expected models.{job.name}.finetune.epochs of at least 1 for `method: rate`; found 0."
        )
    objective = objective_from_teacher(job, TEACHER, network)
    names = [
        name
        for name, value in network.named_parameters()
        if value.ndim > 1 or entry.vectors == "shared"
    ]
    reparametrise(network, names)
    history = job.fit(network, WithRate(objective, network, entry.rate))
    round_to_steps(network)
    if entry.vectors == "half":
        round_vectors(network)
    return network, history
