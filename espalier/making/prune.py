"""`by: prune`."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from espalier import files
from espalier.errors import BadInput, Notice
from espalier.making.job import Job
from espalier.making.networks import parent
from espalier.making.result import OperationResult
from espalier.making.teaching import objective_from_teacher
from espalier.models.folder import load, save
from espalier.params import Prune
from espalier.paths import CUT, STATE, TEACHER
from espalier.pruning import PruneSpec, Size, Target, prune_by_spec
from espalier.pruning.finding import find_weight_elements
from espalier.pruning.groups import KeptOutputs, kept_outputs_of
from espalier.pruning.prune_to_target import MEASURES
from espalier.pruning.scores import SCORES
from espalier.pruning.sparse import sparse
from espalier.training.batches import in_order
from espalier.training.device import to_device
from espalier.training.engine import LossInputs
from espalier.training.history import Row
from espalier.training.recalibrate import recalibrate
from espalier.training.scoring import Inference

_SCORED = {"": 2048, "batches": 2048, "examples": 512}  # training examples that a score uses
_BATCH = {"": 128, "batches": 128, "examples": 1}


def prune(job: Job) -> OperationResult:
    """Prune the parent, in one or several cuts, and recover after each."""
    entry = job.entry
    assert isinstance(entry, Prune)
    network, history = parent(job), list[Row]()
    base = _base(job, network)
    if entry.sparsify:
        history = _sparsify(job, network)
    targets = entry.spec.stepwise(_start(job, network, base))
    for step, target in enumerate(targets, 1):
        cut = partial(_cut, job, network, target, base)
        network = _once(job, f"step-{step}", cut)
        rows = _recover(job, network, step, last=step == len(targets))
        history = _appended(history, rows)
    return OperationResult(network, base.macs, history, records=_records(job, len(targets)))


def _base(job: Job, network: nn.Module) -> Size:
    """The size of the nearest ancestor that no pruning has touched."""
    lineage = job.lineage(str(job.parent))
    size = Size.of(network, _example(job))
    return Size(int(lineage["base_macs"]), int(lineage.get("base_parameters", size.parameters)))


def _sparsify(job: Job, network: nn.Module) -> list[Row]:
    """Train with a penalty on what the cut can remove, in place."""
    entry = job.entry
    assert isinstance(entry, Prune)
    assert entry.sparsify is not None
    objective = sparse(
        objective_from_teacher(job, TEACHER, network),
        network.eval(),
        _example(job),
        penalty=entry.sparsify.penalty,
        strength=entry.sparsify.strength,
        fraction=entry.sparsify.fraction,
        pattern=entry.pattern,
        keep=entry.keep,
    )
    recipe = job.params.recipe(entry.finetune | {"epochs": entry.sparsify.epochs})
    return job.fit(network, objective, part="sparsify", recipe=recipe)


def _start(job: Job, network: nn.Module, base: Size) -> float:
    """The amount before the first of several cuts, in the unit of the target."""
    entry = job.entry
    assert isinstance(entry, Prune)
    target = entry.spec.target
    if target is None or entry.steps == 1:
        return 1.0
    if target.name == "sparsity":
        elements = find_weight_elements(network, _example(job), entry.keep)
        values = elements.sum_over_producers(dict(network.named_parameters()))
        return float((values != 0).mean())
    measured = MEASURES[target.name](network, _example(job))
    return measured / base.unit(target.name)


def _cut(job: Job, network: nn.Module, target: Target | None, base: Size) -> nn.Module:
    """Prune a network, and recompute its batch-norm statistics."""
    entry = job.entry
    assert isinstance(entry, Prune)
    spec = _single(entry.spec, target)
    losses = _losses(job, entry.score)
    smaller = prune_by_spec(network, _example(job), spec, losses=losses, base=base)
    recalibrate(smaller, job.train, job.front)
    return smaller


def _single(spec: PruneSpec, target: Target | None) -> PruneSpec:
    """The request of one of several cuts."""
    return replace(spec, target=target, schedule="one_shot", steps=1)


def _losses(job: Job, score: str) -> Callable[[nn.Module], Iterator[Tensor]]:
    """The losses of training examples, in batches of the size that a score needs."""
    data = SCORES[score].data

    def losses(network: nn.Module) -> Iterator[Tensor]:
        objective = objective_from_teacher(job, TEACHER, network, inside=False)
        count = min(_SCORED[data], len(job.train))
        for batch in job.train.batches(in_order(count, _BATCH[data])):
            inputs = job.front(job.views.apply(batch.inputs, batch.index, 0))
            yield objective(LossInputs(network(inputs), inputs, batch, view=0, progress=0.0))

    return losses


def _recover(job: Job, network: nn.Module, step: int, *, last: bool) -> list[Row]:
    """Fine-tune by distillation from the teacher, in place; warn if that made it worse."""
    entry = job.entry
    assert isinstance(entry, Prune)
    recipe = job.recipe if last else job.params.recipe(entry.finetune | entry.between)
    validation = Inference(job.open("validation"), job.front, task=job.task)
    before = validation.loss_and_score(network)[1]
    objective = objective_from_teacher(job, TEACHER, network)
    history = job.fit(network, objective, part=f"fit-{step}", recipe=recipe)
    after = history[-1][job.task.headline.name] if history else before
    if last and after < before:
        warnings.warn(
            f"Expected fine-tuning to improve the network; found "
            f"{job.task.headline.text(after)} on validation after it, and "
            f"{job.task.headline.text(before)} right after the cut. A smaller `learning_rate` "
            "may help.",
            Notice,
            stacklevel=2,
        )
    return history


def _once(job: Job, name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """A network that is made once and saved, so that a run after a crash continues from it."""
    folder = job.progress / name
    if job.team.rank == 0 and not _is_intact(folder):
        network = make()
        with files.replacing(folder, job.root / STATE / "work") as draft:
            kept_outputs = kept_outputs_of(network)
            if kept_outputs is not None:
                files.write_json(draft / CUT, kept_outputs.as_json())
            save(network, draft)
    job.team.together(torch.zeros(1, device=job.team.device))  # other processes wait for the file
    return to_device(load(folder, trusted=job.params.trusted), job.team.device)


def _is_intact(folder: Path) -> bool:
    try:
        files.verify(folder)
    except BadInput:
        return False
    return True


def _records(job: Job, steps: int) -> dict[str, Any]:
    """The kept outputs of all cuts together, where outputs of layers were removed."""
    paths = [job.progress / f"step-{step}" / CUT for step in range(1, steps + 1)]
    if not all(path.is_file() for path in paths):
        return {}
    cuts = (KeptOutputs.from_json(files.read_json(path)) for path in paths)
    return {CUT: reduce(KeptOutputs.then, cuts).as_json()}


def _appended(former: list[Row], rows: list[Row]) -> list[Row]:
    """The rows of a further training, with steps and epochs counted on."""
    last = former[-1] if former else {"step": 0, "epoch": 0}
    shifted = [
        {**row, "step": row["step"] + last["step"], "epoch": row["epoch"] + last["epoch"]}
        for row in rows
    ]
    return [*former, *shifted]


def _example(job: Job) -> Tensor:
    return job.dataset.example(job.team.device)
