"""Optimizers in their fused versions, with weight decay where it belongs."""

import inspect
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from espalier.training.recipe import Recipe

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])

_DECORATED = ("add_param_group", "load_state_dict", "state_dict", "step", "zero_grad")


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
        adamw = _without_compiler(torch.optim.AdamW)
        return adamw(groups, lr=recipe.learning_rate, betas=betas, fused=True)
    nesterov = recipe.momentum > 0
    sgd = _without_compiler(torch.optim.SGD)
    return sgd(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, fused=True
    )


def gradient_norm(module: nn.Module, device: torch.device) -> Tensor:
    """The norm of the gradients of all parameters, a scalar on the device; 0 without any."""
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return nn.utils.get_total_norm(gradients) if gradients else torch.zeros((), device=device)


def _without_compiler(kind: Kind) -> Kind:
    """An optimizer of torch without the decorators that keep its methods from being compiled.

    They import the compiler, `torch._dynamo`, whose 800 modules take 1.3 s of the processor, and nothing
    is compiled here. Around `step` they also switch gradients off.
    """
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in _DECORATED}
    methods["step"] = torch.no_grad()(methods["step"])
    return cast(Kind, type(kind.__name__, (kind,), methods))
