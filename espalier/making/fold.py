"""`by: fold`."""

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from espalier.errors import Notice
from espalier.folding import fold_batch_norms, fold_blocks, fold_linears
from espalier.making.job import Job
from espalier.making.networks import parent
from espalier.making.result import OperationResult
from espalier.models.structure import edits_of
from espalier.params import Fold
from espalier.paths import TEACHER
from espalier.training.recalibrate import recalibrate
from espalier.training.scoring import Inference

_COMPARED = 512  # training images over which blocks are compared
_BATCH = 128

EXACT: dict[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "batch_norms": fold_batch_norms,
    "linears": fold_linears,
}


def folded(job: Job) -> OperationResult:
    """Fold the parent, and let it recover by distillation from the teacher where that is asked for."""
    entry = job.entry
    assert isinstance(entry, Fold)
    base = int(job.lineage(entry.parent)["base_macs"])
    network = parent(job)
    example = torch.zeros(2, *job.dataset.shape, device=job.team.device)
    if entry.fold in EXACT:
        whole, network = network, EXACT[entry.fold](network, example)
        if edits_of(network) == edits_of(whole):
            what = entry.fold.replace("_", " ")
            warnings.warn(
                f"Folding changed nothing: {entry.parent} has no {what} to be folded.",
                Notice,
                stacklevel=2,
            )
    else:
        network = _merged(job, entry, network, example, base)
    history = job.fit(network, job.from_teacher(TEACHER, network))
    return OperationResult(network, base, history)


def _merged(job: Job, entry: Fold, network: nn.Module, example: Tensor, base: int) -> nn.Module:
    validation = Inference(job.open("validation"), job.look)
    count = min(_COMPARED, len(job.train))
    spread = torch.linspace(0, len(job.train) - 1, count).long()

    def images() -> Iterator[Tensor]:
        groups = [
            group for group in spread.split(_BATCH) if len(group) >= 4
        ]  # fewer have no unbiased estimate
        for batch in job.train.batches(groups):
            yield job.look(batch.inputs)

    def validate(candidate: nn.Module) -> float:
        recalibrate(candidate, job.train, job.look)
        return validation.loss_and_accuracy(candidate)[0]

    return fold_blocks(
        network,
        example,
        images=images,
        validate=validate,
        keep_macs=entry.keep_macs,
        similarity=entry.similarity,
        base_macs=base,
    )
