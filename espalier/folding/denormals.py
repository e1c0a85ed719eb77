"""Numbers too small to be normal: processors compute with them in microcode, a hundred times slower."""

import torch
from torch import nn


@torch.no_grad()
def flush_denormals(network: nn.Module) -> None:
    """Set the weights and buffers below the smallest normal number of their type to zero, in place.

    What such a number adds to an output is far below the rounding of anything else.
    """
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.masked_fill_(value.abs() < torch.finfo(value.dtype).tiny, 0)
