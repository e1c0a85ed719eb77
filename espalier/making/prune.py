"""`by: prune`."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier import files, folders
from espalier.errors import BadInput, Notice
from espalier.making.job import Job
from espalier.making.latency_check import LatencyCheck
from espalier.making.networks import parent_network
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_of
from espalier.models.folder import load_verified, save
from espalier.params import Prune
from espalier.params.prune import Sparsify
from espalier.paths import ARCHITECTURE, CUT, WEIGHTS
from espalier.pruning import PruneSpec, Size, Target, prune_by_spec
from espalier.pruning.costs import Deployment
from espalier.pruning.finding import find_weight_elements
from espalier.pruning.groups import KeptOutputs, kept_outputs_of
from espalier.pruning.prune_to_target import MEASURES
from espalier.pruning.sparse import sparse
from espalier.training.batches import sample
from espalier.training.device import to_device
from espalier.training.history import Row, appended
from espalier.training.loss_inputs import LossInputs
from espalier.training.recalibrate import recalibrate

_SCORED = {"": 2048, "batches": 2048, "examples": 512}  # training examples that a score uses
_BATCH = {"": 128, "batches": 128, "examples": 1}
_FASTER = LatencyCheck("a larger `align` or `budget: latency` may help")


def prune(job: Job[Prune]) -> OperationResult:
    """Prune the parent, in one or several cuts, and recover after each."""
    entry, history = job.entry, list[Row]()
    network = parent_network(job)
    base = _base(job, network)
    if entry.sparsify:
        history = _sparsify(job, network, entry.sparsify)
    cuts = entry.spec.stepwise(_start(job, network, base))
    for step, targets in enumerate(cuts, 1):
        cut = partial(_cut, job.alone, network, targets, base)
        network = _once(job, f"step-{step}", cut)
        rows = _recover(job, network, step, last=step == len(cuts))
        history = appended(history, rows)
    records = _records(job, len(cuts))
    return OperationResult(network, base.macs, history, records=records, latency_check=_FASTER)


def _base(job: Job[Prune], network: nn.Module) -> Size:
    """The size of the nearest ancestor that no pruning has touched."""
    parent, project = job.entry.parent, job.project
    size = Size.of(network, job.data.example())
    return Size(project.base_macs(parent), project.base_parameters(parent) or size.parameters)


def _sparsify(job: Job[Prune], network: nn.Module, sparsify: Sparsify) -> list[Row]:
    """Train with a penalty on the groups that can be removed, in place."""
    entry = job.entry
    objective = sparse(
        objective_of(job, network),
        network.eval(),
        job.data.example(),
        penalty=sparsify.penalty,
        strength=sparsify.strength,
        fraction=sparsify.fraction,
        pattern=entry.pattern,
        keep=entry.keep,
    )
    recipe = job.params.recipe(entry.finetune | {"epochs": sparsify.epochs})
    return job.fit(network, objective, part="sparsify", recipe=recipe)


def _start(job: Job[Prune], network: nn.Module, base: Size) -> dict[str, float]:
    """The amount before the first of several cuts, in the unit of each target, by name."""
    entry, example = job.entry, job.data.example()
    start = {}
    for name in (target.name for target in entry.spec.targets if entry.steps > 1):
        if name == "sparsity":
            elements = find_weight_elements(network, example, entry.keep)
            values = elements.sum_over_producers(dict(network.named_parameters()))
            start[name] = float((values != 0).mean())
        else:
            start[name] = MEASURES[name](network, example, _deployment(job)) / base.unit(name)
    return start


def _deployment(job: Job[Prune]) -> Deployment:
    """The surroundings of the network in the deployed file of the entry."""
    data = job.data
    return Deployment(data.dataset.zeros(2), data.deployed_front, data.readout, data.names)


def _cut(job: Job[Prune], network: nn.Module, targets: tuple[Target, ...], base: Size) -> nn.Module:
    """Prune a network, and recompute its batch-norm statistics, unless its layers compute the former outputs."""
    entry = job.entry
    spec = _single(entry.spec, targets)
    smaller = prune_by_spec(
        network,
        job.data.example(),
        spec,
        losses=_losses(job),
        base=base,
        deployment=_deployment(job),
    )
    if spec.reconstruct != "layers":
        recalibrate(smaller, job.data.train, job.data.front)
    return smaller


def _single(spec: PruneSpec, targets: tuple[Target, ...]) -> PruneSpec:
    """The request of one of several cuts."""
    return replace(spec, targets=targets, schedule="one_shot", steps=1)


def _losses(job: Job[Prune]) -> Callable[[nn.Module], Iterator[Tensor]]:
    """The losses of training examples, in batches of the size that a score needs."""
    data = job.entry.spec.importance.data

    def losses(network: nn.Module) -> Iterator[Tensor]:
        objective = objective_of(job, network, feature_losses=False)
        groups = sample(_SCORED[data], len(job.data.train), _BATCH[data])
        for batch in job.data.train.batches(groups, view=0):
            inputs = job.data.front(job.data.augmentations.apply(batch.inputs, batch.index, 0))
            yield objective(LossInputs(network(inputs), inputs, batch, view=0, progress=0.0))

    return losses


def _recover(job: Job[Prune], network: nn.Module, step: int, *, last: bool) -> list[Row]:
    """Fine-tune by distillation from the teacher, in place; warn if that clearly made it worse."""
    entry = job.entry
    recipe = job.recipe if last else job.params.recipe(entry.finetune | entry.between)
    before = job.data.validation.scores(network, job.processes)
    objective = objective_of(job, network)
    history = job.fit(network, objective, part=f"fit-{step}", recipe=recipe)
    if not (last and history):
        return history
    # with `patience` the last epoch may be another network than the kept one
    after = job.data.validation.scores(network, job.processes)
    if is_clearly_worse(after, before):
        headline = job.data.task.headline
        warnings.warn(
            f"Expected fine-tuning to improve the network; found "
            f"{headline.text(after.mean())} on validation after it, and "
            f"{headline.text(before.mean())} right after the cut. A smaller `learning_rate` may help.",
            Notice,
            stacklevel=2,
        )
    return history


def is_clearly_worse(scores: NDArray[np.float64], former: NDArray[np.float64]) -> bool:
    """Whether scores (N,) are lower than former ones of the same examples by more than chance explains."""
    if scores.mean() >= former.mean():
        return False
    # here: it imports scipy's statistics, which few recoveries need
    from espalier.judging import compare

    return compare(scores, former).drop.low > 0


def _once(job: Job[Prune], name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """A network that is made once and saved, so that a run after a crash continues from it.

    Process 0 makes it, and all processes load it.
    """
    folder = job.checkpoints / name

    def make_missing() -> str:
        if not _is_intact(folder):
            _save(job, make(), folder)
        return name

    job.processes.from_first(f"{job.key}-{name}", make_missing)
    network = load_verified(folder, trusted=job.params.trusted)
    return to_device(network, job.processes.device)


def _save(job: Job[Prune], network: nn.Module, folder: Path) -> None:
    with folders.replacing(folder, job.project.drafts) as draft:
        kept_outputs = kept_outputs_of(network)
        if kept_outputs is not None:
            files.write_json(draft / CUT, kept_outputs.as_json())
        save(network, draft)


def _is_intact(folder: Path) -> bool:
    try:
        files.verify(folder, required=(ARCHITECTURE, WEIGHTS))
    except BadInput:
        return False
    return True


def _records(job: Job[Prune], steps: int) -> dict[str, Any]:
    """The kept outputs of all cuts together, where outputs of layers were removed."""
    paths = [job.checkpoints / f"step-{step}" / CUT for step in range(1, steps + 1)]
    if not all(path.is_file() for path in paths):
        return {}
    return {CUT: reduce(KeptOutputs.then, map(KeptOutputs.read, paths)).as_json()}
