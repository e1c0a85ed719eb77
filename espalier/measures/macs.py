"""The work of a network."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def count_macs(network: nn.Module, shape: tuple[int, ...]) -> int:
    """Multiply-accumulates for one image of `shape` (C, H, W): of convolutions, matrix products and attention."""
    first = next(network.parameters(), None)
    device = first.device if first is not None else torch.device("cpu")
    dtype = first.dtype if first is not None else torch.float32
    modes = {module: module.training for module in network.modules()}
    network.eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, *shape, device=device, dtype=dtype))
    for module, training in modes.items():
        module.training = training
    return int(counter.get_total_flops() // 2)


def count_parameters(network: nn.Module) -> int:
    """Numbers that are learned; shared ones count once."""
    return sum(parameter.numel() for parameter in network.parameters())
