"""Frozen layers keep their weights and the statistics of their norms; all others train."""

import pytest
import torch
from properties import assert_explains

from espalier.errors import BadInput


def state(network):
    return {name: value.clone() for name, value in network.state_dict().items()}


def changed(network, before):
    after = network.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


@pytest.mark.parametrize("patterns", [("stem", "stages.0*"), ("*bn*", "*norm*"), ("stages",)])
def test_frozen_layers_keep_their_bits_and_the_rest_trains(setting, patterns):
    network = setting.built("espalier:resnet", depth=8, width=8)
    names = dict(network.named_modules())
    patterns = [one for one in patterns if any(fnmatch(name, one) for name in names)]
    before = state(network)
    setting.train(network, epochs=1, freeze=tuple(patterns))
    frozen = [name for name in names if any(fnmatch(name, one) for one in patterns)]
    inside = {
        name for name in before if any(name.startswith(f"{layer}.") for layer in frozen if layer)
    }
    assert inside
    assert changed(network, before) == set(before) - inside
    assert all(parameter.requires_grad for parameter in network.parameters())


def fnmatch(name, pattern):
    from fnmatch import fnmatchcase

    return fnmatchcase(name, pattern)


def test_nothing_is_frozen_by_default(setting):
    network = setting.built("espalier:resnet", depth=8, width=8)
    before = state(network)
    setting.train(network, epochs=1)
    assert changed(network, before) == set(before)


@pytest.mark.parametrize(
    ("patterns", "words"),
    [(("layer9",), ["'layer9'", "matches none"]), (("*",), ["none beside *"])],
)
def test_a_pattern_that_matches_nothing_or_everything_is_refused(setting, patterns, words):
    network = setting.built("espalier:resnet", depth=8, width=8)
    with pytest.raises(BadInput) as refusal:
        setting.train(network, epochs=1, freeze=patterns)
    assert_explains(refusal.value, *words)
