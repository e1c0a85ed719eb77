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
from espalier.making.teaching import objective_from_teacher
from espalier.models.structure import edits_of
from espalier.params import Fold
from espalier.paths import TEACHER
from espalier.training.recalibrate import recalibrate
from espalier.training.scoring import Inference

_COMPARED = 512  # training images over which blocks are compared
_BATCH = 128

_EXACT: dict[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "batch_norms": fold_batch_norms,
    "linears": fold_linears,
}


def folded(job: Job) -> OperationResult:
    """Fold the parent, and fine-tune by distillation from the teacher if `finetune` asks for it."""
    entry = job.entry
    assert isinstance(entry, Fold)
    base = int(job.lineage(entry.parent)["base_macs"])
    whole = parent(job)
    example = job.dataset.example(job.team.device)
    if entry.fold in _EXACT:
        network = _EXACT[entry.fold](whole, example)
        _warn_if_unchanged(entry, whole, network)
    else:
        network = _fold_blocks(job, entry, whole, example, base)
    history = job.fit(network, objective_from_teacher(job, TEACHER, network))
    return OperationResult(network, base, history)


def _warn_if_unchanged(entry: Fold, whole: nn.Module, network: nn.Module) -> None:
    if edits_of(network) == edits_of(whole):
        noun = entry.fold.replace("_", " ")
        message = f"Folding changed nothing: {entry.parent} has no {noun} to be folded."
        warnings.warn(message, Notice, stacklevel=3)


def _fold_blocks(
    job: Job, entry: Fold, network: nn.Module, example: Tensor, base: int
) -> nn.Module:
    """Merge similar blocks; each candidate is validated with recomputed batch norms."""
    validation = Inference(job.open("validation"), job.front, task=job.task)
    count = min(_COMPARED, len(job.train))
    spread = torch.linspace(0, len(job.train) - 1, count).long()

    def images() -> Iterator[Tensor]:
        batches = spread.split(_BATCH)
        # the unbiased estimate of CKA needs 4 examples
        sufficient = [batch for batch in batches if len(batch) >= 4]
        for batch in job.train.batches(sufficient):
            yield job.front(batch.inputs)

    def validate(candidate: nn.Module) -> float:
        recalibrate(candidate, job.train, job.front)
        return validation.loss_and_score(candidate)[0]

    return fold_blocks(
        network,
        example,
        images=images,
        validate=validate,
        keep_macs=entry.keep_macs,
        similarity=entry.similarity,
        base_macs=base,
    )
