import pytest
import torch
from torch import nn

from espalier.models import build
from espalier.training.batch_size import inference_batch_size
from espalier.training.scoring import Inference

MIB = 2**20


@pytest.mark.parametrize("channels", [1, 16, 100, 3000])
@pytest.mark.parametrize("side", [8, 32, 100])
def test_the_outputs_of_a_batch_stay_small_but_a_few_examples_are_together(channels, side):
    network = nn.Sequential(nn.Conv2d(3, channels, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    size = inference_batch_size(network, torch.zeros(1, 3, side, side))
    largest = 4 * channels * side**2
    assert 4 <= size <= 512
    assert size * largest <= 8 * MIB or size == 4
    assert 2 * size * largest > 8 * MIB or size == 512


def test_an_example_of_another_device_is_computed_in_large_batches():
    network = nn.Conv2d(3, 3000, 1, device="meta")
    assert inference_batch_size(network, torch.zeros(1, 3, 100, 100, device="meta")) == 512


def test_no_hook_stays_at_a_network():
    network = build("espalier:resnet", classes=10, shape=(3, 32, 32), arguments={"depth": 8})
    inference_batch_size(network.eval(), torch.zeros(1, 3, 32, 32))
    assert not any(module._forward_hooks for module in network.modules())


def test_outputs_do_not_depend_on_the_size_of_the_batch(setting):
    network = setting.network()
    found = [
        Inference(setting.examples, setting.front, size).outputs(network)[0]
        for size in (None, 7, 512)
    ]
    for other in found[1:]:
        assert torch.allclose(found[0], other, rtol=1e-5, atol=1e-5)
