"""A running average of a network's weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]
Update = Callable[[Tensors, Tensors, Tensor | int], None]


def running_average(network: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of the parameters and buffers of a network.

    Whole numbers among the buffers, such as indices of positions, are copied: an average of equal
    indices would be rounded down to other ones.

    Args:
        network: network whose weights are averaged; `update_parameters` takes it again.
        decay: weight of the former average in each update.
    """
    return AveragedModel(network, multi_avg_fn=_averaging(decay), use_buffers=True)


def _averaging(decay: float) -> Update:
    average: Update = get_ema_multi_avg_fn(decay)

    @torch.no_grad()
    def update(averages: Tensors, values: Tensors, count: Tensor | int) -> None:
        # torch gives tensors of one type at a time
        if averages[0].is_floating_point() or averages[0].is_complex():
            average(averages, values, count)
        else:
            torch._foreach_copy_(averages, values)

    return update
