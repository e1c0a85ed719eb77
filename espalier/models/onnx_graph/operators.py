"""One function per operator of ONNX that is no layer.

A function takes the operands in the order of ONNX, and the attributes as keywords. What an older operator
set has as an attribute, and a newer one as an operand, it takes as either.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.models.onnx_graph.pooling import (
    average_pool,
    global_average_pool,
    global_max_pool,
    max_pool,
    resize,
)
from espalier.models.onnx_graph.reductions import (
    reduce_l2,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_sum,
)
from espalier.models.onnx_graph.shapes import (
    concatenate,
    depth_to_space,
    expand,
    flatten,
    gather,
    pad,
    repeat_batch,
    reshape,
    slice_,
    space_to_depth,
    split,
    squeeze,
    tile,
    transpose,
    unsqueeze,
)

Function = Callable[..., Any]


def _folded(function: Callable[[Any, Any], Any]) -> Function:
    """An operator of any number of operands, applied from the first to the last."""
    return lambda *operands: reduce(function, operands)


def _identity(x: Tensor, *_: Any, **__: Any) -> Tensor:
    return x


def _clip(
    x: Tensor,
    low: float | None = None,
    high: float | None = None,
    *,
    min: float | None = None,  # noqa: A002 - the name in ONNX
    max: float | None = None,  # noqa: A002
) -> Tensor:
    low, high = min if low is None else low, max if high is None else high
    if (low, high) == (0, 6):
        return F.relu6(x)
    if low is None and high is None:
        return x
    return torch.clamp(x, low, high)


def _hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    if math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5:
        return F.hardsigmoid(x)
    return torch.clamp(x * alpha + beta, 0, 1)


def _maximum(one: Any, other: Any) -> Any:
    return _extreme(torch.maximum, torch.clamp_min, one, other)


def _minimum(one: Any, other: Any) -> Any:
    return _extreme(torch.minimum, torch.clamp_max, one, other)


def _extreme(of_two: Function, of_number: Function, one: Any, other: Any) -> Any:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return of_two(one, other)
    return of_number(one, other) if isinstance(one, Tensor) else of_number(other, one)


def _where(condition: Tensor, one: Any, other: Any) -> Tensor:
    return torch.where(condition, one, other)


def _einsum(*operands: Tensor, equation: str) -> Tensor:
    return torch.einsum(equation, *operands)


def _instance_norm(x: Tensor, scale: Tensor, shift: Tensor, *, epsilon: float = 1e-5) -> Tensor:
    return F.instance_norm(x, weight=scale, bias=shift, eps=epsilon)


def _power(base: Any, exponent: Any) -> Any:
    return torch.pow(base, exponent)


def _mean(*operands: Tensor) -> Tensor:
    total: Tensor = _ADD(*operands)
    return total / len(operands)


def _softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return F.softmax(x, axis)


def _log_softmax(x: Tensor, *, axis: int = -1) -> Tensor:
    return F.log_softmax(x, axis)


def _comparison(name: str) -> Function:
    return lambda one, other: getattr(torch, name)(one, other)


_ADD = _folded(lambda one, other: one + other)


OPERATORS: dict[str, Function] = {
    # index by index
    "Abs": torch.abs,
    "Add": _ADD,
    "Celu": lambda x, *, alpha=1.0: F.celu(x, alpha),
    "Clip": _clip,
    "Div": lambda one, other: one / other,
    "Dropout": _identity,
    "Elu": lambda x, *, alpha=1.0: F.elu(x, alpha),
    "Equal": _comparison("eq"),
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Gelu": lambda x, *, approximate="none": F.gelu(x, approximate=approximate),
    "Greater": _comparison("gt"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": F.hardswish,
    "Identity": _identity,
    "LeakyRelu": lambda x, *, alpha=0.01: F.leaky_relu(x, alpha),
    "Less": _comparison("lt"),
    "Log": torch.log,
    "Max": _folded(_maximum),
    "Mean": _mean,
    "Min": _folded(_minimum),
    "Mish": F.mish,
    "Mul": _folded(lambda one, other: one * other),
    "Neg": torch.neg,
    "Pow": _power,
    "Reciprocal": torch.reciprocal,
    "Relu": F.relu,
    "Selu": F.selu,
    "Sigmoid": torch.sigmoid,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "Sqrt": torch.sqrt,
    "Sub": lambda one, other: one - other,
    "Sum": _ADD,
    "Tanh": torch.tanh,
    "Where": _where,
    # over whole dimensions
    "InstanceNormalization": _instance_norm,
    "LogSoftmax": _log_softmax,
    "ReduceL2": reduce_l2,
    "ReduceMax": reduce_max,
    "ReduceMean": reduce_mean,
    "ReduceMin": reduce_min,
    "ReduceSum": reduce_sum,
    "Softmax": _softmax,
    # windows
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
    "MaxPool": max_pool,
    "Resize": resize,
    # products of values
    "Einsum": _einsum,
    "MatMul": torch.matmul,
    # shapes
    "Concat": concatenate,
    "DepthToSpace": depth_to_space,
    "Expand": expand,
    "Flatten": flatten,
    "Gather": gather,
    "Pad": pad,
    "RepeatBatch": repeat_batch,  # of a constant: the expansion that files compute from the batch size
    "Reshape": reshape,
    "Slice": slice_,
    "SpaceToDepth": space_to_depth,
    "Split": split,
    "Squeeze": squeeze,
    "Tile": tile,
    "Transpose": transpose,
    "Unsqueeze": unsqueeze,
}

# operands that have to be numbers when the file is read, by their positions
NUMBERS: dict[str, Sequence[int]] = {
    "Clip": (1, 2),
    "Dropout": (1, 2),
    "Expand": (1,),
    "Pad": (1, 2, 3),
    "ReduceL2": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "Unsqueeze": (1,),
}
