"""A network that was trained for integers, as a file of integers with the steps that it learned."""

from pathlib import Path

import onnx
import torch
from torch import Tensor

from espalier.export.onnx import Disagreement, relative_difference, write
from espalier.export.runtime import Runtime
from espalier.quantization.aware import Aware
from espalier.quantization.qdq import with_integer_weights

_AGREEMENT = 0.2  # a value on the edge of two levels may go either way; what is wrong is wrong by more


def export_integers(
    network: Aware, path: Path, images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]
) -> float:
    """Write the integer file of a network that was trained for it, and check that it gives the same logits.

    Args:
        network: It is left as it is.
        path: Where to write.
        images: Real images (N, C, H, W) uint8 on the processor, on which both are compared.
        mean: Per channel, of pixels in [0, 1].
        std: Likewise.

    Returns:
        The largest difference between the logits of the two, relative to the largest logit where that is above 1.

    Raises:
        Disagreement: If that is above 0.2.
    """
    frozen = network.frozen()
    deployed = write(frozen, path, images, mean, std)
    onnx.save(with_integer_weights(onnx.load(path)), path)
    with torch.no_grad():
        ours = deployed(images).numpy()
    difference = relative_difference(ours, Runtime(path).logits(images.numpy()))
    if not difference <= _AGREEMENT:
        raise Disagreement(
            f"The integer file should agree with the network to {_AGREEMENT}. Found a difference of {difference:.2g}."
        )
    return difference
