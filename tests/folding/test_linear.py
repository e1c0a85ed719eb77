import pytest
import torch
from properties import assert_equal_outputs, assert_explains, assert_input_untouched, example_of
from torch import nn

from espalier.errors import BadInput
from espalier.folding import fold_linears
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build, load, save
from espalier.models.structure import Masked, Shared, record, removed_layers


def layers(network):
    return [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)
    ]


def unbiased(layer):
    nn.init.zeros_(layer.bias)
    return layer


MERGED = {  # which layers are left
    "two": ([nn.Linear(6, 8), nn.Linear(8, 4)], (6,), "0"),
    "three": (
        [nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4)],
        (6,),
        "0 4",
    ),
    "on tokens": ([nn.Linear(6, 8, bias=False), nn.Linear(8, 4)], (3, 6), "0"),
    "without biases": ([nn.Linear(6, 8, bias=False), nn.Linear(8, 4, bias=False)], (6,), "0"),
    "only the first has a bias": ([nn.Linear(6, 8), nn.Linear(8, 4, bias=False)], (6,), "0"),
    "1x1 behind": ([nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 4, 1)], (3, 7, 7), "0"),
    "1x1 behind, padded by reflection": (
        [nn.Conv2d(3, 8, 3, 1, 1, padding_mode="reflect"), nn.Conv2d(8, 4, 1)],
        (3, 7, 7),
        "0",
    ),
    "1x1 before, nothing padded": (
        [nn.Conv2d(6, 8, 1), nn.Conv2d(8, 4, 3, dilation=2)],
        (6, 7, 7),
        "1",
    ),
    "1x1 before, nothing added": (
        [nn.Conv2d(6, 8, 1, bias=False), nn.Conv2d(8, 4, 3, 1, 1)],
        (6, 7, 7),
        "1",
    ),
    "1x1 before, zero added": (
        [unbiased(nn.Conv2d(6, 8, 1)), nn.Conv2d(8, 4, 3, 1, "same")],
        (6, 7, 7),
        "1",
    ),
    "both 1x1, the second strided": ([nn.Conv2d(6, 8, 1), nn.Conv2d(8, 4, 1, 2)], (6, 6, 6), "1"),
    "one dimension": ([nn.Conv1d(3, 8, 3), nn.Conv1d(8, 4, 1)], (3, 7), "0"),
}


@pytest.mark.parametrize(("sequence", "shape", "left"), MERGED.values(), ids=MERGED)
def test_consecutive_layers_are_multiplied_and_outputs_are_equal(sequence, shape, left):
    network, images = nn.Sequential(*sequence), torch.randn(5, *shape)
    with assert_input_untouched(network):
        folded = fold_linears(network, torch.zeros(1, *shape))
    assert layers(folded) == left.split()
    assert set(removed_layers(folded)) == set(layers(network)) - set(layers(folded))
    with torch.no_grad():
        wanted, found = network(images), folded(images)
    assert (wanted - found).abs().max() <= 1e-5 * wanted.abs().max()
    assert count_parameters(folded) < count_parameters(network)
    assert count_macs(folded, example_of(shape)) < count_macs(network, example_of(shape))


class ReadElsewhere(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        y = self.one(x)
        return self.two(y) + y


def tied():
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(6, 6), layer)


STAY = {
    "a bottleneck": (nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 6)), (6,)),
    "more work, if not more parameters": (  # 432 at 49 places for 56 at 25 and 378 at 49
        nn.Sequential(nn.Conv2d(8, 7, 1, bias=False), nn.Conv2d(7, 6, 3, 1, 2, bias=False)),
        (8, 5, 5),
    ),
    "a rectifier between": (nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6)), (6,)),
    "something else looks": (ReadElsewhere(), (6,)),
    "one works twice": (tied(), (6,)),
    "groups": (nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.Conv2d(8, 4, 1)), (4, 5, 5)),
    "a border that the bias would not reach": (
        nn.Sequential(nn.Conv2d(6, 8, 1), nn.Conv2d(8, 4, 3, 1, 1)),
        (6, 5, 5),
    ),
    "two that move": (nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)), (3, 7, 7)),
    "a stride first": (nn.Sequential(nn.Conv2d(6, 8, 1, 2), nn.Conv2d(8, 4, 3)), (6, 9, 9)),
}


@pytest.mark.parametrize(("network", "shape"), STAY.values(), ids=STAY)
def test_other_layers_are_not_multiplied(network, shape):
    folded = fold_linears(network, torch.zeros(2, *shape))
    assert layers(folded) == layers(network)
    assert_equal_outputs(network.eval(), folded, torch.randn(5, *shape))


@pytest.mark.parametrize("kind", [Masked, Shared])
def test_masked_and_shared_weights_are_not_multiplied(kind):
    network = nn.Sequential(
        nn.Linear(6, 8), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4)
    )
    record(network, kind(("1.weight",)))
    assert layers(fold_linears(network, torch.zeros(2, 6))) == ["0", "1", "3"]


def test_a_merged_network_is_saved_and_loaded_bit_for_bit(tmp_path, monkeypatch):
    (tmp_path / "deep.py").write_text(
        "from torch import nn\n"
        "def net(*, classes, shape):\n"
        "    convolutions = nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.Conv2d(8, 4, 1), nn.ReLU(), nn.Flatten()\n"
        "    return nn.Sequential(*convolutions, nn.Linear(64, 16, bias=False), nn.Linear(16, classes))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    network = build("deep:net", classes=10, shape=(1, 4, 4), trusted=["deep"])
    folded = fold_linears(network, torch.zeros(2, 1, 4, 4))
    assert layers(folded) == ["0", "4"]
    save(folded, tmp_path / "model")
    assert_equal_outputs(
        load(tmp_path / "model", trusted=["deep"]), folded, torch.randn(4, 1, 4, 4)
    )


class Weighed(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        return self.two(self.one(x)) * self.two.in_features


def test_a_network_with_other_outputs_after_merging_is_refused():
    with pytest.raises(BadInput) as caught:
        fold_linears(Weighed(), torch.zeros(2, 6))
    assert_explains(caught.value, "in_features")
