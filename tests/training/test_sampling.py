"""A balanced sampler shows every class equally often, deterministically, and rare ones repeatedly."""

import torch

from espalier.training.sampling import draw_balanced


def draws(seed, count=30_000):
    targets = torch.tensor([0] * 900 + [1] * 90 + [2] * 10)
    random = torch.Generator().manual_seed(seed)
    return targets, draw_balanced(targets, count, random)


def test_classes_are_equally_likely_and_so_are_the_examples_of_a_class():
    targets, drawn = draws(0)
    shares = torch.bincount(targets[drawn]).double() / len(drawn)
    assert (shares - 1 / 3).abs().max() < 0.01
    rare = torch.bincount(drawn, minlength=1000)[-10:].double()
    assert rare.min() > 0.8 * rare.mean()


def test_the_same_generator_draws_the_same():
    assert torch.equal(draws(1)[1], draws(1)[1])
    assert not torch.equal(draws(1)[1], draws(2)[1])


def test_a_training_with_it_repeats_to_the_bit_and_differs_from_a_shuffled_one(setting):
    networks = {}
    for name, sampler in (("one", "balanced"), ("again", "balanced"), ("shuffled", "shuffle")):
        networks[name] = setting.network()
        setting.train(networks[name], epochs=1, sampler=sampler)
    states = {name: network.state_dict() for name, network in networks.items()}
    assert all(torch.equal(value, states["again"][name]) for name, value in states["one"].items())
    assert not all(
        torch.equal(value, states["shuffled"][name]) for name, value in states["one"].items()
    )
