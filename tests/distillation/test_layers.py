"""Layers that can be paired, and the default pairs, on any network."""

import warnings

import pytest
import torch
from cases import NETWORKS
from properties import assert_input_untouched, assert_random_numbers_untouched
from torch import nn

from espalier.distillation.features import default_pairs, ends, layers
from espalier.distillation.features.layers import Layer, as_map
from espalier.models import build

EVERY = pytest.mark.parametrize("case", NETWORKS, ids=str)

# the last layer at each resolution; None where nothing but the last one is claimed
FAMILIES = {
    "alexnet": None,
    "convnext_tiny": ["features.1", "features.3", "features.5", "features"],
    "densenet121": [
        None,
        "features.denseblock1",
        "features.denseblock2",
        "features.denseblock3",
        "features",
    ],
    "efficientnet_b0": ["features.1", "features.2", "features.3", "features.5", "features"],
    "googlenet": ["conv1", "conv3", "inception3b", "inception4e", "inception5b"],
    "mobilenet_v2": ["features.1", "features.3", "features.6", "features.13", "features"],
    "regnet_x_400mf": [
        "stem",
        *(f"trunk_output.block{number}" for number in (1, 2, 3)),
        "trunk_output",
    ],
    "resnet18": ["relu", "layer1", "layer2", "layer3", "layer4"],
    "shufflenet_v2_x0_5": ["conv1", "maxpool", "stage2", "stage3", "conv5"],
    "squeezenet1_0": None,
    "swin_t": ["features.1", "features.3", "features.5", "features"],
    "vgg11_bn": None,
    "vit_b_16": ["encoder"],
}


def network_and_example(case):
    torch.manual_seed(0)
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    return network, torch.zeros(2, *case.shape)


@EVERY
def test_looking_at_a_network_leaves_it_as_it_was(case):
    network, example = network_and_example(case)
    with assert_input_untouched(network), assert_random_numbers_untouched():
        layers(network, example)
    assert not any(module._forward_hooks for module in network.modules())


@EVERY
def test_a_layer_is_named_once_has_its_outputs_shape_and_is_not_the_answer(case):
    network, example = network_and_example(case)
    found = layers(network, example)
    assert len({layer.name for layer in found}) == len(found) > 0
    outputs = {}
    for name, module in network.named_modules():
        module.register_forward_hook(
            lambda module, given, output, name=name: outputs.setdefault(name, output)
        )
    answer = network.eval()(example)
    for layer in found:
        assert outputs[layer.name] is not answer
        assert tuple(as_map(outputs[layer.name], case.shape[1:]).shape) == (2, *layer.shape)
    assert len({id(outputs[layer.name]) for layer in found}) == len(found)


@EVERY
@pytest.mark.parametrize("other", NETWORKS, ids=str)
def test_any_two_networks_have_sensible_pairs(case, other):
    """Both sides in the order of their depth, and of equal resolutions where both have the resolution."""
    ours, theirs = (layers(*network_and_example(one)) for one in (case, other))
    pairs = default_pairs(ours, theirs)
    assert pairs
    places = [
        {layer.name: number for number, layer in enumerate(found)} for found in (ours, theirs)
    ]
    for place, names in zip(places, (pairs, pairs.values()), strict=True):
        numbers = [place[name] for name in names]
        assert numbers == sorted(numbers)
    sizes = [{layer.name: layer.size for layer in found} for found in (ours, theirs)]
    shared = {layer.size for layer in ends(ours)} & {layer.size for layer in ends(theirs)}
    if shared:
        assert all(sizes[0][one] == sizes[1][two] for one, two in pairs.items())
    if case is other:
        assert pairs == {layer.name: layer.name for layer in ends(ours)}


@pytest.mark.parametrize("name", ["resnet", "wide_resnet"])
def test_the_ends_of_a_residual_network_are_its_stages(name):
    """Neither what the next stage does before it halves the resolution, nor the norm behind the last one."""
    arguments = {"resnet": {"depth": 14, "width": 4}, "wide_resnet": {"depth": 16, "widen": 1}}[
        name
    ]
    network = build(f"espalier:{name}", classes=10, shape=(1, 8, 8), arguments=arguments)
    found = ends(layers(network, torch.zeros(2, 1, 8, 8)))
    width = arguments.get("width", 16)
    assert [(layer.name, layer.shape) for layer in found] == [
        ("stages.0", (width, 8, 8)),
        ("stages.1", (2 * width, 4, 4)),
        ("stages", (4 * width, 2, 2)),
    ]


def test_layers_inside_a_downsampling_block_end_no_stage():
    """As the expansion of an inverted residual: wide, at the former resolution, and a block by itself."""
    block = [
        Layer("a", (4, 8, 8), True, False),
        Layer("b.0", (24, 8, 8), True, True),
        Layer("b", (8, 4, 4), True, False),
    ]
    assert [layer.name for layer in ends(block)] == ["a", "b"]

    class Halving(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.halved = nn.Sequential(nn.Conv2d(1, 8, 1)), nn.Conv2d(8, 4, 3, 2, 1)

        def forward(self, x):
            return self.halved(self.wide(x))

    network = nn.Sequential(Halving(), nn.Flatten(), nn.Linear(64, 10))
    found = {layer.name: layer.crossing for layer in layers(network, torch.zeros(2, 1, 8, 8))}
    assert found == {"0.wide": True, "0": False, "1": False}


def test_networks_without_places_are_paired_by_relative_depth():
    def plain(*widths):
        steps = [
            Layer(f"layer{number}", (width, 1, 1), False, False)
            for number, width in enumerate(widths)
        ]
        return [step for step in steps for _ in (0, 1)]

    assert default_pairs(plain(9, 8), plain(99, 88, 77, 66)) == {
        "layer0": "layer1",
        "layer1": "layer3",
    }
    assert default_pairs(plain(9, 8, 7), plain(99)) == {
        "layer0": "layer0",
        "layer1": "layer0",
        "layer2": "layer0",
    }
    assert default_pairs(plain(9), []) == default_pairs([], plain(9)) == {}


def test_maps_of_every_layout_become_one():
    """Channels last as in Swin, tokens with and without a class token, vectors."""
    image = (8, 16)
    expected = torch.randn(2, 3, 4, 8)
    tokens = expected.flatten(2).transpose(1, 2)
    for other in (
        expected,
        expected.permute(0, 2, 3, 1),
        tokens,
        torch.cat([torch.ones(2, 1, 3), tokens], 1),
    ):
        torch.testing.assert_close(as_map(other, image), expected)
    vectors = torch.randn(2, 3)
    assert torch.equal(as_map(vectors, image), vectors[:, :, None, None])
    torch.testing.assert_close(as_map(tokens[:, :7], image)[:, :, 0, 0], tokens[:, :7].mean(1))


def test_layers_that_cannot_be_paired_are_left_out():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.flat, self.twice, self.both = (
                nn.Flatten(),
                nn.ReLU(),
                nn.MultiheadAttention(4, 1, batch_first=True),
            )
            self.first, self.idle, self.head = nn.Linear(16, 12), nn.Linear(2, 2), nn.Linear(12, 3)
            self.whole, self.count = nn.Identity(), nn.Identity()

        def forward(self, x):
            x = self.twice(self.twice(self.first(self.flat(x))))
            tokens = x.view(-1, 3, 4)
            x = self.both(tokens, tokens, tokens)[0].flatten(1)
            self.whole(x.sum(0, keepdim=True))
            self.count(x.argmax(1))
            return self.head(x)

    assert [layer.name for layer in layers(Odd(), torch.zeros(2, 1, 4, 4))] == ["first"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_ends_of_torchvisions_families_are_their_stages(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = build(f"torchvision:{name}", classes=10, shape=(3, 224, 224))
    found = ends(layers(network, torch.zeros(2, 3, 224, 224)))
    heights = [layer.size[0] for layer in found]
    assert heights == sorted(set(heights), reverse=True)
    assert all(layer.size[0] == layer.size[1] for layer in found)  # no channel is taken for a place
    expected = FAMILIES[name] or [None] * len(found)
    assert len(found) == len(expected)
    assert [
        (layer.name if end else None) for layer, end in zip(found, expected, strict=True)
    ] == expected
