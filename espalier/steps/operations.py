"""The operations that an entry can ask for: each makes a network, and what is known of how it came about."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from espalier.data.prepared import open_split
from espalier.errors import BadInput
from espalier.measures.macs import count_macs
from espalier.models.build import build
from espalier.params import Distill, Prune, Quantize, Teacher, Train
from espalier.paths import MODELS, ONNX, PREPARED, TEACHER
from espalier.pruning import prune
from espalier.quantization import quantize
from espalier.steps.job import Job
from espalier.training.batches import in_order
from espalier.training.history import Row
from espalier.training.recalibrate import recalibrate
from espalier.training.seeds import seed_all

_SCORED = 2048  # training images that a score looks at


@dataclass(frozen=True)
class Made:
    """The result of an operation.

    Attributes:
        network: The trained network.
        base_macs: Its work before any pruning: what later fractions are of.
        history: A row per epoch.
        deploy: Writes the deployed file, where that is not an export of the network.
    """

    network: nn.Module
    base_macs: int
    history: list[Row] = field(default_factory=list)
    deploy: Callable[[Path], None] | None = None


def train(job: Job) -> Made:
    """Train on labels alone: a new network, or the parent further."""
    entry = job.entry
    assert isinstance(entry, Teacher | Train)
    network = _new(job, entry.model, entry) if entry.model else _parent(job)
    history = job.fit(network, job.from_labels())
    base = None if entry.model else job.lineage(str(job.parent))["base_macs"]
    return Made(network, base or count_macs(network, job.dataset.shape), history)


def distill(job: Job) -> Made:
    """Train a new network on the labels and its parent's answers."""
    entry = job.entry
    assert isinstance(entry, Distill)
    _refuse_quantized(job)
    network = _new(job, entry.model, entry)
    history = job.fit(network, job.from_teacher(entry.parent, entry.soft))
    return Made(network, count_macs(network, job.dataset.shape), history)


def cut(job: Job) -> Made:
    """Prune the parent, measure its batch norms anew, and recover by distillation from the teacher."""
    entry = job.entry
    assert isinstance(entry, Prune)
    base = int(job.lineage(entry.parent)["base_macs"])
    objective = job.from_teacher(TEACHER, entry.soft)

    def losses(network: nn.Module) -> Iterator[Tensor]:
        for batch in job.train.batches(in_order(min(_SCORED, len(job.train)), 128)):
            images = job.views.apply(batch.images, batch.index, 0)
            yield objective(network(job.look(images)), batch, 0)

    example = torch.zeros(2, *job.dataset.shape, device=job.team.device)
    network = prune(
        _parent(job),
        example,
        keep_macs=entry.keep_macs,
        score=entry.score,
        align=entry.align,
        losses=losses,
        base_macs=base,
    )
    recalibrate(network, job.train, job.look)
    history = job.fit(network, objective)
    return Made(network, base, history)


def quantized(job: Job) -> Made:
    """Quantize the parent's deployed file; the weights beside it stay the parent's."""
    entry = job.entry
    assert isinstance(entry, Quantize)
    network = _parent(job)
    record = {"scheme": entry.scheme, "calibration": entry.calibration, "reduce_range": entry.reduce_range}
    replace(job.architecture(entry.parent), quantization=record).attach(network)
    images = _calibration_images(job, entry.images)

    def deploy(path: Path) -> None:
        source = job.root / MODELS / entry.parent / ONNX
        quantize(source, path, images, calibration=entry.calibration, reduce_range=entry.reduce_range)

    return Made(network, int(job.lineage(entry.parent)["base_macs"]), deploy=deploy)


OPERATIONS: dict[str, Callable[[Job], Made]] = {
    "train": train,
    "distill": distill,
    "prune": cut,
    "quantize": quantized,
}


def _new(job: Job, factory: str, entry: Teacher | Train | Distill) -> nn.Module:
    seed_all(job.params.seed, "weights", factory)
    dataset = job.dataset
    return build(
        factory,
        classes=len(dataset.classes),
        shape=dataset.shape,
        arguments=entry.arguments,
        trusted=job.params.trusted,
    )


def _parent(job: Job) -> nn.Module:
    _refuse_quantized(job)
    return job.load(str(job.parent))


def _refuse_quantized(job: Job) -> None:
    if job.parent and job.architecture(job.parent).quantization:
        raise BadInput(
            f"models.{job.name}.from should name a model in floating point. Found {job.parent!r}, which is quantized: "
            "quantize last."
        )


def _calibration_images(job: Job, count: int) -> np.ndarray:
    """Training images spread over the split, in its order."""
    split = open_split(job.root / PREPARED, "train")
    places = np.unique(np.linspace(0, len(split) - 1, min(count, len(split))).astype(int))
    return np.stack([split[int(place)][0].numpy() for place in places])
