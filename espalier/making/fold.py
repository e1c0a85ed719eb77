"""`by: fold`."""

import warnings
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor, nn

from espalier.errors import Notice
from espalier.folding import equalize_ranges, fold_batch_norms, fold_blocks, fold_linears
from espalier.making.job import Job
from espalier.making.networks import parent_network
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_of
from espalier.models.structure import edits_of
from espalier.params import Fold
from espalier.training.recalibrate import recalibrate

_COMPARED = 512  # training examples on which blocks are compared
_BATCH = 128
_FEWEST = 4  # examples that the unbiased estimate of CKA needs

_EXACT: dict[str, Callable[[nn.Module, Tensor], nn.Module]] = {
    "batch_norms": fold_batch_norms,
    "linears": fold_linears,
    "ranges": equalize_ranges,
}


def fold(job: Job[Fold]) -> OperationResult:
    """Fold the parent, and recover by distillation if `finetune` asks for it."""
    whole = parent_network(job)
    macs = job.project.base_macs(job.entry.parent)
    exact = _EXACT.get(job.entry.fold)
    if exact:
        network = exact(whole, job.data.example())
        _warn_if_unchanged(job.entry, whole, network)
    else:
        network = _fold_blocks(job, whole, macs)
    history = job.fit(network, objective_of(job, network))
    return OperationResult(network, macs, history)


def _warn_if_unchanged(entry: Fold, whole: nn.Module, network: nn.Module) -> None:
    if edits_of(network) == edits_of(whole) and _equal_weights(network, whole):
        noun = entry.fold.replace("_", " ")
        message = f"Folding changed nothing: {entry.parent} has no {noun} to be folded."
        warnings.warn(message, Notice, stacklevel=3)


def _equal_weights(one: nn.Module, other: nn.Module) -> bool:
    values = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(value, former) for value, former in values)


def _fold_blocks(job: Job[Fold], network: nn.Module, macs: int) -> nn.Module:
    """Merge similar blocks; each candidate is validated with recomputed batch norms."""
    data = job.data
    validation = data.validation

    def validate(candidate: nn.Module) -> float:
        recalibrate(candidate, data.train, data.front)
        return validation.loss_and_score(candidate, job.processes)[0]

    return fold_blocks(
        network,
        data.example(),
        validate=validate,
        images=None if job.entry.compare == "weights" else partial(_compared_inputs, job),
        keep_macs=job.entry.keep_macs,
        similarity=job.entry.similarity,
        base_macs=macs,
    )


def _compared_inputs(job: Job[Fold]) -> Iterator[Tensor]:
    """Batches of training inputs, spread over the split."""
    train, front = job.data.train, job.data.front
    count = min(_COMPARED, len(train))
    spread = torch.linspace(0, len(train) - 1, count).long()
    sufficient = [index for index in spread.split(_BATCH) if len(index) >= _FEWEST]
    for batch in train.batches(sufficient):
        yield front(batch.inputs)
