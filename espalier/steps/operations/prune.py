"""`by: prune`."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from espalier.params import Prune
from espalier.paths import TEACHER
from espalier.pruning import prune
from espalier.steps.job import Job
from espalier.steps.operations.made import Made
from espalier.steps.operations.networks import parent
from espalier.training.batches import in_order
from espalier.training.engine import Seen
from espalier.training.recalibrate import recalibrate

_SCORED = 2048  # training images that a score looks at


def cut(job: Job) -> Made:
    """Prune the parent, measure its batch norms anew, and recover by distillation from the teacher."""
    entry = job.entry
    assert isinstance(entry, Prune)
    base = int(job.lineage(entry.parent)["base_macs"])
    network = parent(job)
    objective = job.from_teacher(TEACHER, network)

    def losses(network: nn.Module) -> Iterator[Tensor]:
        for batch in job.train.batches(in_order(min(_SCORED, len(job.train)), 128)):
            images = job.look(job.views.apply(batch.images, batch.index, 0))
            yield objective(Seen(network(images), images, batch, view=0, progress=0.0))

    example = torch.zeros(2, *job.dataset.shape, device=job.team.device)
    network = prune(
        network,
        example,
        keep_macs=entry.keep_macs,
        score=entry.score,
        align=entry.align,
        losses=losses,
        base_macs=base,
    )
    recalibrate(network, job.train, job.look)
    history = job.fit(network, job.from_teacher(TEACHER, network))
    return Made(network, base, history)
