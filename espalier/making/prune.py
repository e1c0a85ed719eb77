"""`by: prune`."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from espalier.models.folder import load, save
from espalier.params import Prune
from espalier.paths import CUT, STATE, TEACHER
from espalier.pruning import prune
from espalier.pruning.kept_outputs import KeptOutputs, kept_outputs_of
from espalier.pruning.prune_to_target import MEASURES
from espalier.pruning.schedules import amounts
from espalier.pruning.scores import SCORES
from espalier.pruning.sparse import sparse
from espalier.pruning.target import Size
from espalier.pruning.weight_elements import find_weight_elements
from espalier.training.batches import in_order
from espalier.training.device import to_device
from espalier.training.engine import LossInputs
from espalier.training.history import Row
from espalier.training.recalibrate import recalibrate
from espalier.training.scoring import Inference

_SCORED = {"": 2048, "batches": 2048, "examples": 512}  # training images that a score looks at
_BATCH = {"": 128, "batches": 128, "examples": 1}


def cut(job: Job) -> OperationResult:
    """Cut the parent, in several steps if that is asked for, and recover after each."""
    entry = job.entry
    assert isinstance(entry, Prune)
    network, history = parent(job), list[Row]()
    base = _base(job, network)
    if entry.sparsify:
        history = _sparsify(job, network)
    targets = _targets(job, network, base)
    for step, target in enumerate(targets, 1):
        network = _once(job, f"step-{step}", partial(_cut, job, network, target, base))
        history = _after(history, _recover(job, network, step, last=step == len(targets)))
    return OperationResult(network, base.macs, history, records=_records(job, len(targets)))


def _base(job: Job, network: nn.Module) -> Size:
    """The size of the nearest ancestor that no pruning has touched."""
    lineage = job.lineage(str(job.parent))
    size = Size.of(network, job.dataset.shape)
    return Size(int(lineage["base_macs"]), int(lineage.get("base_parameters", size.parameters)))


def _sparsify(job: Job, network: nn.Module) -> list[Row]:
    """Train with a penalty on what can go, in place."""
    entry = job.entry
    assert isinstance(entry, Prune)
    assert entry.sparsify is not None
    objective = sparse(
        job.from_teacher(TEACHER, network),
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


def _targets(job: Job, network: nn.Module, base: Size) -> Sequence[Mapping[str, float]]:
    """What each cut is to reach, as arguments of `prune`."""
    entry = job.entry
    assert isinstance(entry, Prune)
    if entry.target is None:
        return [{}]
    key, end = entry.target
    if entry.steps == 1:
        return [{key: end}]
    if key == "sparsity":
        there = (
            find_weight_elements(network, _example(job), entry.keep).sum_over_producers(
                dict(network.named_parameters())
            )
            != 0
        )
        return [
            {key: 1 - left} for left in amounts(entry.schedule, there.mean(), 1 - end, entry.steps)
        ]
    of = {"keep_macs": base.macs, "keep_parameters": base.parameters}
    start = MEASURES[key](network, _example(job)) / of.get(key, 1)
    return [{key: left} for left in amounts(entry.schedule, start, end, entry.steps)]


def _cut(job: Job, network: nn.Module, target: Mapping[str, float], base: Size) -> nn.Module:
    """Prune a network, and measure its batch norms anew."""
    entry = job.entry
    assert isinstance(entry, Prune)
    smaller = prune(
        network,
        _example(job),
        **target,
        pattern=entry.pattern,
        score=entry.score,
        budget=entry.budget,
        align=entry.align,
        losses=_losses(job, entry.score),
        base=base,
        keep=entry.keep,
        n=entry.n,
        m=entry.m,
    )
    recalibrate(smaller, job.train, job.look)
    return smaller


def _losses(job: Job, score: str) -> Callable[[nn.Module], Iterator[Tensor]]:
    """The losses of training images, in batches of the size that a score asks for."""
    data = SCORES[score].data

    def losses(network: nn.Module) -> Iterator[Tensor]:
        objective = job.from_teacher(TEACHER, network, inside=False)
        for batch in job.train.batches(in_order(min(_SCORED[data], len(job.train)), _BATCH[data])):
            images = job.look(job.views.apply(batch.inputs, batch.index, 0))
            yield objective(LossInputs(network(images), images, batch, view=0, progress=0.0))

    return losses


def _recover(job: Job, network: nn.Module, step: int, *, last: bool) -> list[Row]:
    """Fine-tune by distillation from the teacher, in place, and tell if that made it worse."""
    entry = job.entry
    assert isinstance(entry, Prune)
    recipe = job.recipe if last else job.params.recipe(entry.finetune | entry.between)
    validation = Inference(job.open("validation"), job.look)
    before = validation.loss_and_accuracy(network)[1]
    history = job.fit(
        network, job.from_teacher(TEACHER, network), part=f"fit-{step}", recipe=recipe
    )
    if last and history and (after := history[-1]["accuracy"]) < before:
        warnings.warn(
            f"Fine-tuning should make a network better. Found {100 * after:.2f} % on validation after it, and "
            f"{100 * before:.2f} % right after the cut: a smaller `learning_rate` may serve.",
            Notice,
            stacklevel=2,
        )
    return history


def _once(job: Job, name: str, make: Callable[[], nn.Module]) -> nn.Module:
    """A network that is made once and kept: whoever goes on after a kill goes on from the very same."""
    folder = job.progress / name
    if job.team.rank == 0 and not _whole(folder):
        network = make()
        with files.replacing(folder, job.root / STATE / "work") as draft:
            if (survivors := kept_outputs_of(network)) is not None:
                files.write_json(draft / CUT, survivors.as_json())
            save(network, draft)
    job.team.together(
        torch.zeros(1, device=job.team.device)
    )  # the other processes wait for the file
    return to_device(load(folder, trusted=job.params.trusted), job.team.device)


def _whole(folder: Path) -> bool:
    try:
        files.verify(folder)
    except BadInput:
        return False
    return True


def _records(job: Job, steps: int) -> dict[str, Any]:
    """What all cuts together have left of the parent's layers, where outputs of layers went."""
    paths = [job.progress / f"step-{step}" / CUT for step in range(1, steps + 1)]
    if not all(path.is_file() for path in paths):
        return {}
    cuts = (KeptOutputs.from_json(files.read_json(path)) for path in paths)
    return {CUT: reduce(KeptOutputs.then, cuts).as_json()}


def _after(former: list[Row], rows: list[Row]) -> list[Row]:
    """Rows of a further training, counted on from the former ones."""
    step, epoch = (former[-1][key] if former else 0 for key in ("step", "epoch"))
    return [
        *former,
        *({**row, "step": row["step"] + step, "epoch": row["epoch"] + epoch} for row in rows),
    ]


def _example(job: Job) -> Tensor:
    return torch.zeros(2, *job.dataset.shape, device=job.team.device)
