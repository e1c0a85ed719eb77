"""`by: share`."""

from torch import nn

from espalier.coding import Bits, share
from espalier.coding.rate import WithRate, reparametrise, round_to_steps
from espalier.coding.share import round_centroids, round_vectors
from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.making.networks import parent
from espalier.making.result import OperationResult
from espalier.params import Share
from espalier.params.share import Widths
from espalier.paths import TEACHER
from espalier.training.history import Row


def shared(job: Job) -> OperationResult:
    """Let the parent's weights share few numbers, and recover by distillation from the teacher."""
    entry = job.entry
    assert isinstance(entry, Share)
    network = parent(job)
    network, history = (
        _by_rate(job, entry, network) if entry.method == "rate" else _by_kmeans(job, entry, network)
    )
    return OperationResult(network, int(job.lineage(entry.parent)["base_macs"]), history)


def _by_kmeans(job: Job, entry: Share, network: nn.Module) -> tuple[nn.Module, list[Row]]:
    bits = (
        Bits(entry.bits.conv, entry.bits.linear) if isinstance(entry.bits, Widths) else entry.bits
    )
    network = share(network, bits=bits, price=entry.price, vectors=entry.vectors)
    history = job.fit(network, job.from_teacher(TEACHER, network))
    round_centroids(network)
    if entry.vectors == "half":
        round_vectors(network)
    return network, history


def _by_rate(job: Job, entry: Share, network: nn.Module) -> tuple[nn.Module, list[Row]]:
    if not job.recipe.epochs:
        raise BadInput(
            f"models.{job.name}.finetune.epochs should be at least 1 for `method: rate`. Found 0."
        )
    objective = job.from_teacher(TEACHER, network)
    every = entry.vectors == "shared"
    reparametrise(
        network, [name for name, value in network.named_parameters() if every or value.ndim > 1]
    )
    history = job.fit(network, WithRate(objective, network, entry.rate))
    round_to_steps(network)
    if entry.vectors == "half":
        round_vectors(network)
    return network, history
