"""Operators with weights, as the layers of torch."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from espalier.models.onnx_import.call import Call
from espalier.models.onnx_import.padding import explicit_padding
from espalier.models.onnx_import.values import Activation, Array, Known, Unsupported
from espalier.models.structure.layer_specs import LayerSpec

LayerReader = Callable[[Call], Activation]


def convolution(call: Call) -> Activation:
    """`Conv`: a layer, after a step that pads where the two ends of a dimension differ."""
    weight = call.array(1)
    bias = call.optional(2)
    rank = weight.ndim - 2
    if rank not in (1, 2, 3):
        raise Unsupported(f"Conv over {rank} dimensions")
    ones = [1] * rank
    windows = {
        "kernel_size": tuple(weight.shape[2:]),
        "stride": tuple(call.attributes.get("strides", ones)),
        "dilation": tuple(call.attributes.get("dilations", ones)),
    }
    x, padding = explicit_padding(call, windows)
    groups = call.attributes.get("group", 1)
    settings = {
        "in_channels": weight.shape[1] * groups,
        "out_channels": weight.shape[0],
        **windows,
        "padding": padding,
        "groups": groups,
        "bias": bias is not None,
    }
    return _layer(call, f"Conv{rank}d", settings, _weights(weight, bias), x)


def dense(call: Call) -> Activation:
    """`Gemm`: `alpha x W + beta c` is a linear layer of weight `alpha W^T` and bias `beta c`."""
    matrix = call.array(1)
    added = call.optional(2)
    if call.attributes.get("transA") or len(call.x.shape) != 2:
        raise Unsupported("Gemm of a transposed value")
    weight = matrix if call.attributes.get("transB") else matrix.T
    weight = weight * np.float32(call.attributes.get("alpha", 1.0))
    if added is None:
        return _linear(call, weight, None)
    scaled = added * np.float32(call.attributes.get("beta", 1.0))
    bias = _vector(scaled, len(weight))
    if bias is None:
        raise Unsupported(f"Gemm that adds a constant of shape {list(added.shape)}")
    return _linear(call, weight, bias)


def product(call: Call) -> Activation:
    """`MatMul`: a linear layer if its second operand is a constant matrix, else a product of values."""
    second = call.operands[1]
    if isinstance(second, Known) and second.is_constant:
        matrix = second.constant()
        if matrix.ndim == 2:
            return _linear(call, matrix.T, None)
    return call.add(call.operands, {})[0]


def batch_norm(call: Call) -> Activation:
    """`BatchNormalization` in evaluation mode."""
    if call.attributes.get("training_mode"):
        raise Unsupported("BatchNormalization in training mode")
    scale = call.array(1)
    momentum = call.attributes.get("momentum", 0.9)
    settings = {
        "num_features": len(scale),
        "eps": call.attributes.get("epsilon", 1e-5),
        "momentum": round(1 - momentum, 6),  # of the new statistics; ONNX's is of the old ones
    }
    tensors = {
        "weight": scale,
        "bias": call.array(2),
        "running_mean": call.array(3),
        "running_var": call.array(4),
        "num_batches_tracked": np.array(0),
    }
    spatial = max(1, len(call.x.shape) - 2)
    return _layer(call, f"BatchNorm{spatial}d", settings, tensors)


def layer_norm(call: Call) -> Activation:
    """`LayerNormalization` over the last dimensions."""
    scale = call.array(1)
    shift = call.optional(2)
    rank = len(call.x.shape)
    axis = call.attributes.get("axis", -1) % rank
    if call.x.shape[axis:] != scale.shape:
        raise Unsupported(f"LayerNormalization with a scale of shape {list(scale.shape)}")
    settings = {
        "normalized_shape": tuple(scale.shape),
        "eps": call.attributes.get("epsilon", 1e-5),
        "bias": shift is not None,
    }
    return _layer(call, "LayerNorm", settings, _weights(scale, shift))


def group_norm(call: Call) -> Activation:
    """`GroupNormalization` with a scale and shift for each channel, as since version 21."""
    scale = call.array(1)
    if len(scale) != call.x.shape[1]:
        raise Unsupported("GroupNormalization with one scale for each group")
    settings = {
        "num_groups": call.attributes["num_groups"],
        "num_channels": len(scale),
        "eps": call.attributes.get("epsilon", 1e-5),
    }
    return _layer(call, "GroupNorm", settings, _weights(scale, call.array(2)))


def rectifier(call: Call) -> Activation:
    """`PRelu` with a slope for each channel, or one for all."""
    slopes = call.array(1)
    shape = call.x.shape
    per_channel = (slopes.size, *[1] * (len(shape) - 2))
    fits = slopes.size == shape[1] and slopes.shape in (per_channel, (1, *per_channel))
    if slopes.size != 1 and not fits:
        raise Unsupported(f"PRelu with slopes of shape {list(slopes.shape)}")
    return _layer(call, "PReLU", {"num_parameters": slopes.size}, {"weight": slopes.reshape(-1)})


LAYERS: dict[str, LayerReader] = {
    "BatchNormalization": batch_norm,
    "Conv": convolution,
    "Gemm": dense,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "MatMul": product,
    "PRelu": rectifier,
}


def add_bias(call: Call) -> Activation | None:
    """The output of a linear layer whose bias is the constant that `Add` adds; None if there is none.

    No other operator may read the layer's output.
    """
    constants = [one for one in call.operands if isinstance(one, Known)]
    values = [one for one in call.operands if isinstance(one, Activation)]
    if len(constants) != 1 or not constants[0].is_constant:
        return None
    graph, (value,) = call.graph, values
    place = graph.producer(value)
    if place is None or graph.readers(value) != 1:
        return None
    step = graph.steps[place]
    if step.operator != "Linear" or step.attributes["bias"]:
        return None
    added = constants[0].constant()
    bias = _vector(added, step.attributes["out_features"])
    if bias is None or added.ndim > len(value.shape):
        return None
    graph.give_bias(place, bias)
    return value


def _linear(call: Call, weight: Array, bias: Array | None) -> Activation:
    rows, columns = weight.shape
    settings = {"in_features": columns, "out_features": rows, "bias": bias is not None}
    return _layer(call, "Linear", settings, _weights(weight, bias))


def _layer(
    call: Call,
    kind: str,
    settings: Mapping[str, Any],
    tensors: Mapping[str, Array],
    x: Activation | None = None,
) -> Activation:
    """Add a layer that is applied to the first operand, or to another value."""
    spec = LayerSpec(kind, dict(settings))
    names = (call.weight_name, call.name)
    return call.graph.add_layer(spec, x or call.x, tensors, names)


def _vector(array: Array, size: int) -> Array | None:
    """A constant that is added to rows (..., size), as a vector; None if it is none."""
    leading = math.prod(array.shape[:-1])
    if leading != 1 or array.size not in (1, size):
        return None
    flat = array.reshape(-1)
    return np.broadcast_to(flat, (size,))


def _weights(weight: Array, bias: Array | None) -> dict[str, Array]:
    if bias is None:
        return {"weight": weight}
    return {"weight": weight, "bias": bias}
