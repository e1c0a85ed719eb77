"""Optimal brain damage (LeCun et al. 1990, eq. 4), with the diagonal of the Hessian by Hutchinson's estimator."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from espalier.pruning.groups import Groups
from espalier.pruning.scores.gradients import batches
from espalier.pruning.scores.score import Losses


def hessian(
    network: nn.Module, groups: Groups, losses: Losses | None = None
) -> NDArray[np.float64]:
    """Half the sum of `h w^2` over the weights that read a group; `h` is the diagonal of the loss's Hessian.

    The diagonal is the mean of `v * (H v)` over random signs `v`, one draw per batch (Bekas et al. 2007), so nothing
    but a second derivative is asked of the network. Where noise or a saddle makes a sum negative, its size counts.

    Raises:
        BadInput: If there are no losses to differentiate.
    """
    source = torch.Generator().manual_seed(0)
    total, count = np.zeros(groups.count), 0
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no second derivative
        for loss, parameters in batches(network, losses, "hessian"):
            diagonal = dict(_diagonal(loss, parameters, source))
            total += groups.sum_over_consumers(
                {name: h * parameters[name].detach() ** 2 for name, h in diagonal.items()}
            )
            count += 1
    return np.abs(total) / (2 * count)


def _diagonal(
    loss: Tensor, parameters: dict[str, nn.Parameter], source: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """One estimate of the Hessian's diagonal, for each parameter that the loss is curved in."""
    gradients = torch.autograd.grad(
        loss, list(parameters.values()), create_graph=True, allow_unused=True
    )
    signs = [
        torch.randint(0, 2, p.shape, generator=source).to(p) * 2 - 1 for p in parameters.values()
    ]
    along = [
        (g * v).sum()
        for g, v in zip(gradients, signs, strict=True)
        if g is not None and g.requires_grad
    ]
    if not along:
        return
    curvature = torch.autograd.grad(
        torch.stack(along).sum(), list(parameters.values()), allow_unused=True
    )
    for name, v, product in zip(parameters, signs, curvature, strict=True):
        if product is not None:
            yield name, v * product
