"""Networks with several heads: a classifier for each of several tasks."""

from typing import Any

from torch import Tensor


def heads_of(outputs: Any) -> dict[str, Tensor]:
    """The logits (N, classes) float32 of each head, by its name; those of a sequence are `0`, `1`, ...

    Args:
        outputs: outputs of a network: a tensor, a sequence of tensors, or a mapping from names.
    """
    if isinstance(outputs, Tensor):
        outputs = (outputs,)
    named = outputs.items() if isinstance(outputs, dict) else enumerate(outputs)
    return {str(name): logits.float() for name, logits in named}


def labels_of(labels: Tensor, place: int) -> Tensor:
    """The labels (N,) of a head: its column of labels (N, heads), or the only label."""
    return labels if labels.ndim == 1 else labels[:, place]
