"""Figures against hand-made ones."""

import pytest
import torch
from properties import example_of
from torch import nn

from espalier.measures.macs import count_macs, count_parameters


@pytest.mark.parametrize(
    ("layers", "shape", "macs", "parameters"),
    [
        ([nn.Conv2d(3, 8, 3, padding=1)], (3, 10, 6), 10 * 6 * 8 * 3 * 9, 8 * 3 * 9 + 8),
        ([nn.Conv2d(3, 8, 3, stride=2, bias=False)], (3, 11, 7), 5 * 3 * 8 * 3 * 9, 8 * 3 * 9),
        ([nn.Conv2d(8, 12, 3, groups=4, bias=False)], (8, 5, 5), 3 * 3 * 12 * 2 * 9, 12 * 2 * 9),
        ([nn.Conv2d(8, 8, 5, groups=8, bias=False)], (8, 5, 5), 8 * 25, 8 * 25),
        ([nn.Flatten(), nn.Linear(12, 7)], (3, 2, 2), 12 * 7, 12 * 7 + 7),
        ([nn.BatchNorm2d(3), nn.ReLU(), nn.AvgPool2d(2)], (3, 4, 4), 0, 6),
    ],
)
def test_macs_and_parameters_are_those_of_the_text_books(layers, shape, macs, parameters):
    network = nn.Sequential(*layers)
    assert count_macs(network, example_of(shape)) == macs
    assert count_parameters(network) == parameters


def test_attention_is_work_too():
    """Queries times keys, and weights times values: 2 heads of 4 over 5 places."""

    class Attention(nn.Module):
        def forward(self, x):
            heads = x.reshape(len(x), 2, 5, 4)
            return nn.functional.scaled_dot_product_attention(heads, heads, heads)

    assert count_macs(Attention(), example_of((1, 5, 8))) == 2 * (2 * 5 * 5 * 4)


def test_shared_weights_count_once_and_work_each_time():
    layer = nn.Linear(4, 4)
    network = nn.Sequential(nn.Flatten(), layer, layer)
    assert count_parameters(network) == 20
    assert count_macs(network, example_of((1, 2, 2))) == 32


def test_counting_leaves_every_layer_as_it_was():
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    network[1].eval()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    count_macs(network, example_of((1, 5, 5)))
    assert [module.training for module in network.modules()] == [True, True, False, True]
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
