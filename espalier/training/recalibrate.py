"""Batch norm statistics, measured anew after a cut."""

import torch
from torch import nn

from espalier.inputs import Front
from espalier.training.batches import Examples, in_order


@torch.no_grad()
def recalibrate(
    network: nn.Module, examples: Examples, front: Front, *, most: int = 4096, batch_size: int = 256
) -> None:
    """Let running means and variances be the plain average over some training images, in place.

    Args:
        network: What was cut; its weights stay.
        examples: The training split, of which the first `most` images are seen, without
            augmentation.
        front: maps stored inputs to what the network sees.
        most: How many images at the most.
        batch_size: Images per step.
    """
    norms = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]
    former = [norm.momentum for norm in norms]
    if not norms:
        return
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the cumulative average
    network.eval()  # dropout stays off: it would change the variances that are measured
    for norm in norms:
        norm.train()
    for batch in examples.batches(in_order(min(most, len(examples)), batch_size)):
        if len(batch.targets) > 1:
            network(front(batch.inputs))
    network.eval()
    for norm, momentum in zip(norms, former, strict=True):
        norm.momentum = momentum
