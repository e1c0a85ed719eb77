"""Saliency by occlusion: how much the answer changes without a word, or without a cell."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from espalier.inputs import Front

Without = Callable[[Tensor, int], Tensor]
"""Stored inputs (N, parts) without one of their parts."""


@torch.no_grad()
def occlusion(
    network: nn.Module,
    front: Front,
    stored: Tensor,
    explained: Tensor | None,
    without: Without,
) -> NDArray[np.float32]:
    """The support of each part of some examples for the answer of a network.

    For a class it is the fall of its logit without the part, 0 where the logit rises; for a number it
    is the change in either direction.

    Source: Zeiler and Fergus (2014), section 4.2; for words Li et al. (2016), "Understanding neural
    networks through representation erasure".

    Args:
        network: network in evaluation mode.
        front: its front.
        stored: stored inputs (N, parts).
        explained: class (N,) of each answer; None for a regression.
        without: removes a part.

    Returns:
        Support (N, parts), not negative.
    """
    whole = _answered(network, front, stored, explained)
    columns = []
    for part in range(stored.shape[1]):
        changed = _answered(network, front, without(stored, part), explained)
        difference = whole - changed
        if explained is None:
            columns.append(difference.abs())
        else:
            columns.append(difference.clamp(min=0))
    support: NDArray[np.float32] = torch.stack(columns, 1).float().cpu().numpy()
    return support


def _answered(network: nn.Module, front: Front, stored: Tensor, explained: Tensor | None) -> Tensor:
    """The explained output (N,) of each example."""
    outputs: Tensor = network(front(stored))
    if explained is None:
        return outputs[:, 0]
    rows = torch.arange(len(outputs), device=outputs.device)
    return outputs[rows, explained]
