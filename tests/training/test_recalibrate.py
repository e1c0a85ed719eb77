import pytest
import torch
from torch import nn

from espalier.data.prepared import Split
from espalier.models import build
from espalier.training.batches import Resident, sample
from espalier.training.recalibrate import recalibrate

CPU = torch.device("cpu")


def values(inputs):
    """A split of numbers, all of one class."""
    return Resident(Split(inputs, torch.zeros(len(inputs), dtype=torch.int64)), CPU)


def test_running_statistics_become_the_exact_averages(setting):
    """The mean over all images and positions, and the mean of the batches' unbiased variances."""
    network = setting.built("espalier:resnet", depth=8, width=4)
    network.bn.running_mean.fill_(100)
    recalibrate(network, setting.examples, setting.front, most=256, batch_size=64)
    batches = setting.examples.batches(sample(256, len(setting.examples), 64))
    with torch.no_grad():
        network = network.double()
        parts = [network.conv(setting.front(batch.inputs).double()) for batch in batches]
    mean = torch.cat(parts).mean((0, 2, 3))
    variance = torch.stack([part.var((0, 2, 3)) for part in parts]).mean(0)
    torch.testing.assert_close(network.bn.running_mean, mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(network.bn.running_var, variance, rtol=1e-5, atol=0)
    assert all(
        int(norm.num_batches_tracked) == 4
        for norm in network.modules()
        if isinstance(norm, nn.BatchNorm2d)
    )


def test_weights_momentum_and_dropout_stay_out_of_it(setting):
    arguments = {"depth": 10, "widen": 1}
    statistics = []
    for dropout in (0.0, 0.5):
        torch.manual_seed(0)
        network = build(
            "espalier:wide_resnet",
            classes=10,
            shape=(1, 8, 8),
            arguments=arguments | {"dropout": dropout},
        )
        weights = [p.detach().clone() for p in network.parameters()]
        recalibrate(network, setting.examples, setting.front)
        assert all(torch.equal(p, q) for p, q in zip(network.parameters(), weights, strict=True))
        assert not any(module.training for module in network.modules())
        assert {m.momentum for m in network.modules() if isinstance(m, nn.BatchNorm2d)} == {0.1}
        statistics.append(
            {name: value for name, value in network.state_dict().items() if "running" in name}
        )
    assert all(torch.equal(value, statistics[1][name]) for name, value in statistics[0].items())


def test_it_is_a_function_of_the_network_and_the_data(setting):
    one, other = (
        setting.built("espalier:resnet", depth=8, width=4),
        setting.built("espalier:resnet", depth=8, width=4),
    )
    recalibrate(one, setting.examples, setting.front)
    other.bn.running_mean.fill_(100)
    recalibrate(other, setting.examples, setting.front)
    assert all(
        torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items()
    )


def test_a_network_without_norms_is_left_as_it_is(setting):
    network = setting.built("espalier:mlp", hidden=[8])
    before = {name: value.clone() for name, value in network.state_dict().items()}
    recalibrate(network, setting.examples, setting.front)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_wide_layers_are_run_a_few_examples_at_a_time(setting):
    """Layers of 2,048 x 8 x 8 numbers have half a MiB for an image: 16 would suit, and 32 are the fewest."""
    network = nn.Sequential(nn.Conv2d(1, 2048, 3, padding=1), nn.BatchNorm2d(2048))
    recalibrate(network, setting.examples, setting.front, most=64)
    assert int(network[1].num_batches_tracked) == 2
    narrow = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4))
    recalibrate(narrow, setting.examples, setting.front, most=64)
    assert int(narrow[1].num_batches_tracked) == 1


@pytest.mark.parametrize("count", [34, 258, 514, 1026])
def test_the_rest_of_a_split_counts_no_more_than_its_examples(count):
    inputs = torch.randn(count, 8, generator=torch.Generator().manual_seed(0))
    norm = nn.BatchNorm1d(8)
    recalibrate(nn.Sequential(norm), values(inputs), nn.Identity(), batch_size=min(count - 2, 256))
    torch.testing.assert_close(norm.running_mean, inputs.mean(0), rtol=0, atol=0.01)
    torch.testing.assert_close(norm.running_var, inputs.var(0), rtol=0.05, atol=0)


def test_a_split_in_the_order_of_its_classes_gives_the_statistics_of_all_of_them():
    inputs = torch.arange(10).repeat_interleave(500).float()[:, None]
    norm = nn.BatchNorm1d(1)
    recalibrate(nn.Sequential(norm), values(inputs), nn.Identity(), most=500)
    assert abs(norm.running_mean.item() - inputs.mean().item()) < 0.3
    assert abs(norm.running_var.item() / inputs.var().item() - 1) < 0.1


def test_one_example_leaves_the_statistics_as_they_are():
    norm = nn.BatchNorm1d(8)
    norm.running_mean.fill_(3)
    recalibrate(nn.Sequential(norm), values(torch.randn(1, 8)), nn.Identity())
    assert norm.running_mean.tolist() == [3.0] * 8
