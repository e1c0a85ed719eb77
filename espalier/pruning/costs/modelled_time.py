"""The time of a network on a typical processor, modelled from its work and the bytes it moves.

The coefficients are constants and not measured anew, so that the same weights are cut alike on every
machine. `budget: latency` measures instead.
"""

import math
from collections.abc import Iterable

import numpy as np
from torch import nn

from espalier.pruning.costs.costs import (
    Cost,
    Sizes,
    Term,
    cost,
    parameter_terms,
    products,
    work_terms,
)
from espalier.pruning.groups import DependencyGroups

_BLOCK = 16  # channels of a block: ONNX Runtime computes convolutions in blocks of 8 (AVX2) or 16
_WIDE = 4 * _BLOCK  # channels from which a block is a small enough step
_HALF = (
    8  # channels that a step must have at least to follow blocks: finer widths ask for precision
)
_OF_VALUE = 8.0  # multiply-accumulates in the time in which a value is written and read again
_OF_WEIGHT = 16.0  # multiply-accumulates in the time in which a weight is read from memory
_CACHED = 2**18  # weights that a core's cache keeps from call to call: a mebibyte


def modelled_time(network: nn.Module, groups: DependencyGroups, align: int) -> Cost:
    """Multiply-accumulates in whole blocks of channels, and their number in the time of memory.

    In the time of a multiply-accumulate (about 20 ps on one core) a quarter of a byte of weights is
    read, or half a byte of values inside the network is written and read. A mebibyte of weights
    stays in the cache and costs nothing, shared by all in proportion. Dimensions of at least 64
    channels count in whole blocks of 16 in the work, if `align` is at least 8.

    Args:
        network: a network in evaluation mode.
        groups: its dependency groups.
        align: number that the remaining widths are multiples of.

    Example:
        A linear layer 64 -> 64 at one place with 24 outputs left: 64 * 32 multiplications,
        24 values that cost 8 each, and nothing for weights that fit into the cache.
    """
    work = work_terms(network, groups)
    weights = sum(parameter.numel() for parameter in network.parameters())
    of_weight = _OF_WEIGHT * max(0.0, 1 - _CACHED / weights)
    memory = [
        *((dims, _OF_VALUE * factor) for dims, factor in _value_terms(groups)),
        *((dims, of_weight * factor) for dims, factor in parameter_terms(network, groups)),
    ]
    terms = [*work, *_merged(memory)]
    price = products([factor for _, factor in terms])
    plain = cost("time", groups.count, [dims for dims, _ in terms], price)
    blocked = (plain.whole >= _WIDE) & (align >= _HALF)
    blocked[len(work) :] = False

    def in_blocks(left: Sizes) -> np.ndarray:
        return price(np.where(blocked, -(-left // _BLOCK) * _BLOCK, left))

    return Cost("time", plain.whole, plain.removed, in_blocks)


def steps_in_block(align: int) -> int:
    """The number of steps of `align` channels after which the modelled work must fall."""
    return max(1, _BLOCK // align) if align >= _HALF else 1


def _value_terms(groups: DependencyGroups) -> list[Term]:
    """The number of elements of each value inside the network, for one example."""
    terms: list[Term] = []
    for _, dims in groups.flow:
        own = dims[
            isinstance(dims[0], int) :
        ]  # without the examples, unless heads share their dimension
        free = [(len(dim), dim) for dim in own if not isinstance(dim, int)]
        terms.append((free, float(math.prod(dim for dim in own if isinstance(dim, int)))))
    return terms


def _merged(terms: Iterable[Term]) -> list[Term]:
    """One term for all of the same dimensions, such as a convolution, its norm and its rectifier."""
    merged: dict[tuple[bytes, ...], Term] = {}
    for dims, factor in terms:
        key = tuple(group.tobytes() for _, group in dims)
        known = merged.get(key, (dims, 0.0))[1]
        merged[key] = (dims, known + factor)
    return list(merged.values())
