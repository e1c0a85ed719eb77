"""Weights of examples, by how hard they are (Lin et al. 2017, focal loss, eq. 4)."""

import torch
from torch import Tensor


@torch.no_grad()
def focal(logits: Tensor, labels: Tensor, *, gamma: float = 2.0) -> Tensor:
    """More weight for the examples to whose label a network gives little probability.

    Args:
        logits: (N, classes) Of the student, or of the teacher.
        labels: (N,) The right classes.
        gamma: exponent; 0 gives equal weights.

    Returns:
        (N,) (1 - p_label)^gamma over its mean in the batch: hard examples count more, and the loss keeps its size.
    """
    likely = logits.float().softmax(1).gather(1, labels[:, None])[:, 0]
    raw = (1 - likely) ** gamma
    return raw / raw.mean().clamp_min(torch.finfo(raw.dtype).tiny)
