"""The order in which a training sees its examples."""

import torch
from torch import Tensor


def draw_balanced(targets: Tensor, count: int, random: torch.Generator) -> Tensor:
    """Indices of examples, drawn with repetition so that each class is equally likely.

    Args:
        targets: class numbers (N,) of all examples, on the processor.
        count: number of draws.
        random: generator of the draws.

    Returns:
        (count,) int64.

    Example:
        Of 90 cats and 10 dogs, half of the draws are dogs, each about as often as nine cats.
    """
    sizes = torch.bincount(targets).double()
    weights = 1 / sizes[targets]
    return torch.multinomial(weights, count, replacement=True, generator=random)
