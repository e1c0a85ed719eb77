import copy
from functools import partial

import pytest
import torch
from properties import assert_equal_weights
from torch import nn

from espalier.training.optimizers import optimizer
from espalier.training.recipe import Recipe


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 10))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_filters_and_matrices_are_decayed_but_neither_biases_nor_norms(name):
    trained = network()
    decays = {}
    for group in optimizer(trained, Recipe(optimizer=name, weight_decay=0.01)).param_groups:
        decays |= dict.fromkeys(group["params"], group["weight_decay"])
    assert {key: decays[value] for key, value in trained.named_parameters()} == {
        "0.weight": 0.01,
        "0.bias": 0.0,
        "1.weight": 0.0,
        "1.bias": 0.0,
        "3.weight": 0.01,
        "3.bias": 0.0,
    }


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_decay_alone_shrinks_the_filters_and_nothing_else(name):
    trained = network()
    nn.init.constant_(trained[0].bias, 1.0)
    before = {key: value.detach().clone() for key, value in trained.named_parameters()}
    stepping = optimizer(
        trained, Recipe(optimizer=name, learning_rate=0.1, weight_decay=0.5, momentum=0)
    )
    for parameter in trained.parameters():
        parameter.grad = torch.zeros_like(parameter)
    stepping.step()
    for key, value in trained.named_parameters():
        torch.testing.assert_close(value, before[key] * (0.95 if value.ndim > 1 else 1.0))


def test_parameters_without_gradient_are_left_unchanged():
    trained = network()
    trained[0].requires_grad_(False)
    held = {p for group in optimizer(trained, Recipe()).param_groups for p in group["params"]}
    assert held == set(trained[1].parameters()) | set(trained[3].parameters())


def test_momentum_is_nesterovs_and_the_first_beta():
    sgd, adamw = (
        optimizer(network(), Recipe(optimizer=name, momentum=0.8)) for name in ("sgd", "adamw")
    )
    assert [(group["momentum"], group["nesterov"]) for group in sgd.param_groups] == [
        (0.8, True)
    ] * 2
    assert [group["betas"] for group in adamw.param_groups] == [(0.8, 0.999)] * 2
    plain = optimizer(network(), Recipe(momentum=0))
    assert [(group["momentum"], group["nesterov"]) for group in plain.param_groups] == [
        (0, False)
    ] * 2


TORCHS = {
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    "adamw": partial(torch.optim.AdamW, betas=(0.9, 0.999)),
}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_steps_are_those_of_torch_bit_for_bit(name):
    one = network()
    other = copy.deepcopy(one)
    recipe = Recipe(optimizer=name, learning_rate=0.01, momentum=0.9, weight_decay=0.0)
    ours = optimizer(one, recipe)
    theirs = TORCHS[name](other.parameters(), lr=0.01, weight_decay=0.0, fused=True)
    images = torch.linspace(-1, 1, 3 * 64).reshape(3, 1, 8, 8)
    for _ in range(4):
        for trained, stepping in ((one, ours), (other, theirs)):
            stepping.zero_grad()
            trained(images).square().mean().backward()
            stepping.step()
    assert_equal_weights(one, other)
