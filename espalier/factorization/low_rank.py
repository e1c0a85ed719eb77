"""A layer as the product of two: truncated singular value decomposition of its weight.

A linear layer of weight W (m, n) becomes `n -> r -> m`. A convolution of weight (m, c, k, k), read
as a matrix of `n = c k k` columns, becomes a k x k convolution with r outputs followed by a 1 x 1
convolution (Denton et al. 2014, section 3.2; Zhang et al. 2016, section 3.1: `y = P Q' x + b`). In
both cases the weight is approximated by its best matrix of rank r (Eckart and Young 1936), and `r
(m + n)` weights take the place of `m n`.
"""

from typing import TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import skip_init

_Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
Factorable = nn.Linear | _Convolution


def is_factorable(layer: nn.Module) -> TypeGuard[Factorable]:
    """Whether a layer is a linear layer or a convolution of one group, and of no subclass."""
    if type(layer) in _CONVOLUTIONS:
        return bool(layer.groups == 1)
    return type(layer) is nn.Linear


def weight_matrix(layer: Factorable) -> Tensor:
    """(outputs, inputs of one output): the weight in double precision on the processor."""
    return layer.weight.detach().cpu().double().flatten(1)


def singular_values(layer: Factorable) -> NDArray[np.float64]:
    """The singular values of a layer's weight matrix, in descending order."""
    values: NDArray[np.float64] = torch.linalg.svdvals(weight_matrix(layer)).numpy()
    return values


def factors(layer: Factorable, rank: int) -> tuple[Tensor, Tensor]:
    """The two factors of the best approximation of a rank: `W ~ second @ first`.

    The square roots of the singular values go to both sides, so that both factors have the same
    norm: [[4, 0], [0, 1]] of rank 1 is [[2], [0]] @ [[2, 0]].

    Returns:
        `first` (rank, inputs) and `second` (outputs, rank), in double precision.
    """
    left, values, right = torch.linalg.svd(weight_matrix(layer), full_matrices=False)
    roots = values[:rank].sqrt()
    return roots[:, None] * right[:rank], left[:, :rank] * roots


@torch.no_grad()
def factorize_layer(layer: Factorable, rank: int) -> nn.Sequential:
    """The pair of layers of a rank that approximates a layer, of the same device, type and mode.

    Args:
        layer: Linear layer or convolution; it is left as it is.
        rank: Number of outputs of the first layer of the pair.
    """
    first, second = (
        _linear_pair(layer, rank)
        if isinstance(layer, nn.Linear)
        else _convolution_pair(layer, rank)
    )
    first_factor, second_factor = factors(layer, rank)
    first.weight.copy_(first_factor.view(first.weight.shape))
    second.weight.copy_(second_factor.view(second.weight.shape))
    if second.bias is not None and layer.bias is not None:
        second.bias.copy_(layer.bias)
    product = nn.Sequential(first, second)
    for parameter in product.parameters():
        parameter.requires_grad = layer.weight.requires_grad
    return product.train(layer.training)


@torch.no_grad()
def truncate_weight(layer: Factorable, rank: int) -> None:
    """Replace a layer's weight by its best approximation of a rank, in place."""
    first, second = factors(layer, rank)
    layer.weight.copy_((second @ first).view(layer.weight.shape))


def _linear_pair(layer: nn.Linear, rank: int) -> tuple[nn.Linear, nn.Linear]:
    place = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    first = skip_init(nn.Linear, layer.in_features, rank, bias=False, **place)
    second = skip_init(nn.Linear, rank, layer.out_features, bias=layer.bias is not None, **place)
    return first, second


def _convolution_pair(layer: _Convolution, rank: int) -> tuple[_Convolution, _Convolution]:
    kind = type(layer)
    place = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    first = skip_init(
        kind,
        layer.in_channels,
        rank,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        bias=False,
        padding_mode=layer.padding_mode,
        **place,
    )
    second = skip_init(kind, rank, layer.out_channels, 1, bias=layer.bias is not None, **place)
    return first, second
