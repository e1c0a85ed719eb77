"""The sensitivity of each layer to quantization."""

from collections.abc import Mapping

import numpy as np

from espalier.quantization.static import Observed, insert
from espalier.runtimes import DEFAULT


def sensitivity(
    observed: Observed,
    ranges: Mapping[str, tuple[float, float]],
    images: np.ndarray,
    *,
    per_channel: bool = True,
    reduce_range: bool = True,
    threads: int = 1,
) -> dict[str, float]:
    """The change of the outputs when one layer alone computes in integers (Wu et al. 2020).

    Args:
        observed: file.
        ranges: ranges of its tensors.
        images: stored inputs (N, ...) on which it is measured.
        per_channel: as in `quantize`.
        reduce_range: as in `quantize`.
        threads: number of threads of the runtime.

    Returns:
        The mean square of the change over that of the outputs, by the layer's name, the largest
        first.
    """
    exact = DEFAULT.open(observed.model.SerializeToString(), threads).outputs(images)
    scale = max(float(np.square(exact).mean()), float(np.finfo(np.float32).tiny))
    changes = {}
    for layer in observed.layers:
        model = insert(
            observed.model, ranges, per_channel=per_channel, reduce_range=reduce_range, only=[layer]
        )
        logits = DEFAULT.open(model.SerializeToString(), threads).outputs(images)
        changes[layer] = float(np.square(logits - exact).mean()) / scale
    return dict(sorted(changes.items(), key=lambda one: -one[1]))
