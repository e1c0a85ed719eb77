"""Exchange of layers for equivalent ones: equal outputs, and no denormal weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from espalier.errors import BadInput

# largest difference relative to the largest output: float32 rounds differently, a wrong exchange is
# off by much more
_TOLERANCE = 1e-3
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)


@torch.no_grad()
def flush_denormals(network: nn.Module) -> None:
    """Set weights and buffers below the smallest normal number of their type to zero, in place.

    Processors compute with such numbers in microcode, a hundred times slower, and their
    contribution to an output is far below its rounding.
    """
    for value in network.state_dict().values():
        if value.is_floating_point():
            value.masked_fill_(value.abs() < torch.finfo(value.dtype).tiny, 0)


@torch.no_grad()
def check_equal_outputs(network: nn.Module, changed: nn.Module, example: Tensor) -> None:
    """Compare the outputs of two networks on random inputs, in evaluation mode.

    They can differ although every exchange is right: a forward pass may use a layer's weight
    without calling the layer.

    Args:
        network: Network before the change; its modes are left as they were.
        changed: Network after the change, in evaluation mode.
        example: Inputs whose shape, type and device both accept; their values do not matter, but
            that integers up to the largest are valid, where the network has no embedding.

    Raises:
        BadInput: If the outputs differ, or the changed network does not run.
    """
    inputs = _varied(example, network)
    modes = {module: module.training for module in network.modules()}
    try:
        expected = network.eval()(inputs)
        found = changed(inputs)
    except (AttributeError, IndexError, RuntimeError, TypeError) as error:
        raise BadInput(
            "Expected a network that runs after its layers changed; found: "
            f"{str(error).splitlines()[0]}"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training
    for one, other in zip(_tensors(expected), _tensors(found), strict=True):
        difference = float((one - other).abs().max() / one.abs().max().clamp(min=1e-30))
        if not difference <= _TOLERANCE:  # also if it is no number
            raise BadInput(
                "Expected equal outputs after the layers changed; found a difference of "
                f"{difference:.2g} of the "
                "largest output: the forward pass may use a layer otherwise than by calling it."
            )


def _varied(example: Tensor, network: nn.Module) -> Tensor:
    """Random inputs like the example: noise, or integers from 0 that the network takes."""
    random = torch.Generator().manual_seed(0)
    if example.is_floating_point():
        return torch.randn(example.shape, generator=random).to(example)
    integers = torch.randint(_count_values(example, network), example.shape, generator=random)
    return integers.to(example)


def _count_values(example: Tensor, network: nn.Module) -> int:
    """The number of integers from 0 that are surely valid inputs: each embedding has a row for them."""
    layers = network.modules()
    rows = [layer.num_embeddings for layer in layers if isinstance(layer, _EMBEDDINGS)]
    return min(rows) if rows else max(2, int(example.max()) + 1)


def _tensors(output: object) -> list[Tensor]:
    """The tensors of an output, which may be a tensor, a dictionary or a sequence."""
    if isinstance(output, Tensor):
        return [output]
    values = list(output.values()) if isinstance(output, Mapping) else output
    assert isinstance(values, list | tuple)
    return [tensor for value in values for tensor in _tensors(value)]
