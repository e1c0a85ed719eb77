"""Optimal brain damage (LeCun et al. 1990, eq. 4), with Hutchinson's estimator of the diagonal."""

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
    """Half the sum of `h w^2` over the consumers of a group; `h` is the diagonal of the Hessian.

    The diagonal is the mean of `v * (H v)` over random signs `v`, one draw per batch (Bekas et al.
    2007), which takes one second derivative. Noise or a saddle can make a sum negative; its
    absolute value counts.

    Raises:
        BadInput: if there are no losses to differentiate.
    """
    source = torch.Generator().manual_seed(0)
    total, count = np.zeros(groups.count), 0
    with sdpa_kernel(SDPBackend.MATH):  # fused kernels of attention have no second derivative
        for loss, parameters in batches(network, losses, "hessian"):
            weighted = {
                name: h * parameters[name].detach() ** 2
                for name, h in _diagonal(loss, parameters, source)
            }
            total += groups.sum_over_consumers(weighted)
            count += 1
    return np.abs(total) / (2 * count)


def _diagonal(
    loss: Tensor, parameters: dict[str, nn.Parameter], source: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    """One estimate of the Hessian's diagonal, for each parameter in which the loss is curved."""
    values = list(parameters.values())
    gradients = torch.autograd.grad(loss, values, create_graph=True, allow_unused=True)
    signs = [torch.randint(0, 2, p.shape, generator=source).to(p) * 2 - 1 for p in values]
    along = [
        (gradient * sign).sum()
        for gradient, sign in zip(gradients, signs, strict=True)
        if gradient is not None and gradient.requires_grad
    ]
    if not along:
        return
    curvature = torch.autograd.grad(torch.stack(along).sum(), values, allow_unused=True)
    for name, sign, product in zip(parameters, signs, curvature, strict=True):
        if product is not None:
            yield name, sign * product
