"""The order in which a training sees its examples."""

import torch
from torch import Tensor

from espalier.training.recipe import Recipe


def shuffled(targets: Tensor, steps: int, recipe: Recipe, random: torch.Generator) -> list[Tensor]:
    """The examples of each batch of an epoch, in an order that is drawn.

    Args:
        targets: targets (N, ...) of all examples; class numbers for a balanced sampler.
        steps: number of batches.
        recipe: hyperparameters; its batch size and its sampler count.
        random: generator of the order.

    Returns:
        Indices (batch size,) int64 for each batch; the last ones are fewer if there are no more examples.
    """
    count = steps * recipe.batch_size
    if recipe.sampler == "balanced":
        order = draw_balanced(targets.cpu(), count, random)
    else:
        order = torch.randperm(len(targets), generator=random)[:count]
    return list(order.split(recipe.batch_size))


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
