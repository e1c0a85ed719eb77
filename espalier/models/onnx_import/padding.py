"""Padding of convolutions and pools, which files spell in four ways."""

from collections.abc import Mapping, Sequence
from typing import Any

from espalier.models.onnx_graph.pooling import symmetric
from espalier.models.onnx_import.call import Call
from espalier.models.onnx_import.values import Activation


def explicit_padding(
    call: Call, windows: Mapping[str, Sequence[int]]
) -> tuple[Activation, tuple[int, ...]]:
    """The input of a convolution, padded if its ends differ, and the padding of the layer.

    Keras pads a 3x3 convolution of stride 2 right and bottom only, which no layer of torch does.
    """
    x = call.x
    rank = len(windows["kernel_size"])
    pads = spelled_pads(x.shape[2:], call.attributes, windows)
    even, _ = symmetric(pads, rank)
    if even is not None:
        return x, tuple(even)
    before, after = pads[:rank], pads[rank:]
    amounts = [0, 0, *before, 0, 0, *after]
    (padded,) = call.graph.add_function("Pad", (x, amounts), {})
    return padded, (0,) * rank


def spelled_pads(
    sizes: Sequence[int], attributes: Mapping[str, Any], windows: Mapping[str, Sequence[int]]
) -> list[int]:
    """The padding before each spatial dimension, then that after each.

    Args:
        sizes: spatial sizes of the input.
        attributes: attributes of the operator; `auto_pad` makes the output as large as the input over
            the stride, rounded up, with the odd element at the end (`SAME_UPPER`) or the start.
        windows: `kernel_size`, `stride` and `dilation`.

    Example:
        Kernel 3, stride 2, size 32: 16 windows cover 33 elements, so `SAME_UPPER` is [0, 1].
    """
    auto = attributes.get("auto_pad", "NOTSET")
    none = [0] * (2 * len(sizes))
    if auto == "NOTSET":
        return list(attributes.get("pads") or none)
    if auto == "VALID":
        return none
    smaller: list[int] = []
    larger: list[int] = []
    for dim, size in enumerate(sizes):
        stride = windows["stride"][dim]
        covered = (windows["kernel_size"][dim] - 1) * windows["dilation"][dim] + 1
        steps = -(-size // stride) - 1
        total = max(0, steps * stride + covered - size)
        smaller.append(total // 2)
        larger.append(total - total // 2)
    return smaller + larger if auto == "SAME_UPPER" else larger + smaller
