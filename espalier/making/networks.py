"""The networks that operations begin with."""

from torch import nn

from espalier.errors import BadInput
from espalier.making.job import Job
from espalier.models.build import build
from espalier.params import Distill, Teacher, Train
from espalier.seeds import seed_all


def new(job: Job, factory: str, entry: Teacher | Train | Distill) -> nn.Module:
    """A fresh network of an entry, with weights drawn from the project's seed."""
    seed_all(job.params.seed, "weights", factory)
    dataset = job.dataset
    return build(
        factory,
        classes=len(dataset.classes),
        shape=dataset.shape,
        arguments=entry.arguments,
        trusted=job.params.trusted,
    )


def parent(job: Job) -> nn.Module:
    """The network of the entry that a job is made from.

    Raises:
        BadInput: If that is quantized.
    """
    refuse_quantized(job)
    return job.load(str(job.parent))


def refuse_quantized(job: Job) -> None:
    """Stop if a job is made from integers: they cannot be trained, nor cut.

    Raises:
        BadInput: If its parent is quantized.
    """
    if job.parent and job.architecture(job.parent).quantization:
        raise BadInput(
            f"Expected models.{job.name}.from to name a model in floating point; found "
            f"{job.parent!r}, which is quantized: "
            "quantize last."
        )
