"""The inputs and the outputs of a layer at places that are drawn: rows of a least-squares problem."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.models.layer_inputs import LayerInput

Places = tuple[Tensor, ...]
"""Indices of examples and positions, a tensor (rows,) for each dimension of an output but that of channels."""


def draw_places(given: LayerInput, most: int, seed: int) -> Places:
    """Places of the output of a layer: all, or `most` that are drawn with repetition.

    Layers of the same output shape but for the channels get the same places for a seed.
    """
    assert given.output is not None
    sizes = given.output.movedim(given.channel, -1).shape[:-1]
    count = sizes.numel()
    drawn = torch.arange(count)
    if count > most:
        drawn = torch.randint(count, (most,), generator=torch.Generator().manual_seed(seed))
    return torch.unravel_index(drawn.to(given.output.device), sizes)


def outputs_at(given: LayerInput, places: Places) -> Tensor:
    """(rows, outputs) float32."""
    assert given.output is not None
    return given.output.movedim(given.channel, -1)[places].float()


def inputs_at(given: LayerInput, shape: torch.Size, groups: int, places: Places) -> Tensor:
    """(rows, groups, inputs) float32: for each row and group, the inputs in the order of a row of the weight.

    Args:
        given: the layer's input and output.
        shape: shape of its weight; a convolution reads the inputs under its filter.
        groups: number of groups of a convolution, 1 for a linear layer.
        places: places of the output.
    """
    values = given.tensor
    if len(shape) > 2:
        values = _windows(values, shape[2:], given.settings)
    rows = values[places].float()
    return rows.reshape(len(rows), groups, -1)


def _windows(values: Tensor, kernel: Sequence[int], settings: Mapping[str, Any]) -> Tensor:
    """(N, ..., channels, kernel ...): what a convolution reads at each position, without a copy."""
    dims = len(kernel)
    strides, dilations = (_each(settings.get(name, 1), dims) for name in ("stride", "dilation"))
    extents = [dilation * (size - 1) + 1 for dilation, size in zip(dilations, kernel, strict=True)]
    padding = settings.get("padding", 0)
    if padding == "same":  # torch puts the odd one behind
        ends = [((extent - 1) // 2, extent // 2) for extent in extents]
    else:
        ends = [(one, one) for one in _each(0 if padding == "valid" else padding, dims)]
    padded = F.pad(values, [one for pair in reversed(ends) for one in pair])
    for dim, (extent, stride) in enumerate(zip(extents, strides, strict=True), 2):
        padded = padded.unfold(dim, extent, stride)
    for dim, dilation in enumerate(dilations, 2 + dims):
        padded = padded[(slice(None),) * dim + (slice(None, None, dilation),)]
    return padded.movedim(1, 1 + dims)


def _each(value: Any, dims: int) -> list[int]:
    """A number for each dimension, where one may stand for all."""
    return [int(value)] * dims if isinstance(value, int) else [int(one) for one in value]
