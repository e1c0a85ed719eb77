"""Networks with several answers for one image: a classifier for each of several tasks."""

from typing import Any

from torch import Tensor


def heads_of(answer: Any) -> dict[str, Tensor]:
    """The logits (N, classes) float32 of each head, by its name; those of a sequence are `0`, `1`, ...

    Args:
        answer: What a network put out: a tensor, a sequence of them, or a mapping of names to them.
    """
    if isinstance(answer, Tensor):
        answer = (answer,)
    named = answer.items() if isinstance(answer, dict) else enumerate(answer)
    return {str(name): logits.float() for name, logits in named}


def labels_of(labels: Tensor, place: int) -> Tensor:
    """The labels (N,) of a head: its column of labels (N, heads), or, where there is one label, that."""
    return labels if labels.ndim == 1 else labels[:, place]
