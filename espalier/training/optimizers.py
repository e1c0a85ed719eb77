"""Optimizers in their fused versions, with weight decay where it belongs."""

import torch
from torch import nn

from espalier.training.recipe import Recipe


def optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer over the network's parameters that want a gradient.

    Biases and the scales of norms are not decayed: it would only pull on what normalisation undoes.
    """
    wanted = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if recipe.optimizer == "adamw":
        betas = (float(recipe.momentum), 0.999)  # torch refuses 0 where it takes 0.0
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=betas, fused=True)
    nesterov = recipe.momentum > 0
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, fused=True
    )
