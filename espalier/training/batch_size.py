"""The number of examples that a network computes at a time when it is not trained."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from espalier.processors import batch_size_for

_FEWEST, _MOST = 4, 512


@torch.no_grad()
def inference_batch_size(network: nn.Module, example: Tensor) -> int:
    """A power of two from 4 to 512, by the largest output of a layer; on a GPU 512.

    Args:
        network: network in evaluation mode.
        example: one input (1, ...) as the network sees it.

    Example:
        The first layers of ResNet-56 give 16 x 32 x 32 float32 numbers for an image, 64 KiB: 128
        images at a time.
    """
    if example.device.type != "cpu":
        return _MOST
    with _output_sizes(network) as sizes:
        network(example)
    return batch_size_for(max(sizes, default=1), _FEWEST, _MOST)


@contextmanager
def _output_sizes(network: nn.Module) -> Iterator[list[int]]:
    """The bytes of the outputs of all layers that are called."""
    sizes: list[int] = []

    def record(module: nn.Module, inputs: object, output: object) -> None:
        del module, inputs
        if isinstance(output, Tensor):
            sizes.append(output.nbytes)

    hooks = [module.register_forward_hook(record) for module in network.modules()]
    try:
        yield sizes
    finally:
        for hook in hooks:
            hook.remove()
