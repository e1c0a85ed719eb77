"""Batch norm statistics, recomputed after a cut."""

import torch
from torch import nn

from espalier.inputs import Front
from espalier.training.batch_size import inference_batch_size
from espalier.training.batches import Examples, in_order, sample

_FEWEST, _MOST = 32, 256  # examples of a step: in fewer, variances would lack the part between them


@torch.no_grad()
def recalibrate(
    network: nn.Module,
    examples: Examples,
    front: Front,
    *,
    most: int = 4096,
    batch_size: int | None = None,
) -> None:
    """Set running means and variances to the plain average over some training examples, in place.

    Fewer than two examples have no variance, and the statistics stay as they are.

    Args:
        network: network after a cut; its weights are not changed.
        examples: training split; `most` examples of it are used, without augmentation.
        front: maps stored inputs to what the network sees.
        most: largest number of examples.
        batch_size: examples per step; None for what suits the network, between 32 and 256.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    former = [norm.momentum for norm in norms]
    if not norms or min(most, len(examples)) < 2:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the cumulative average
    network.eval()  # dropout stays off: it would change the variances that are measured
    size = batch_size or _suitable(network, examples, front)
    for norm in norms:
        norm.train()
    for batch in examples.batches(sample(most, len(examples), size)):
        network(front(batch.inputs))
    network.eval()
    for norm, momentum in zip(norms, former, strict=True):
        norm.momentum = momentum


def _suitable(network: nn.Module, examples: Examples, front: Front) -> int:
    first = next(iter(examples.batches(in_order(1, 1))))
    return min(max(_FEWEST, inference_batch_size(network, front(first.inputs))), _MOST)
