import pytest
import torch
from properties import assert_explains

from espalier.errors import BadInput
from espalier.training import device
from espalier.training.device import autocast, join_process_group, to_device
from espalier.training.recipe import Recipe

CPU = torch.device("cpu")


def multiplied(recipe):
    with autocast(recipe, CPU):
        return torch.nn.Linear(4, 4)(torch.ones(1, 4)).dtype


def test_bfloat16_is_refused_where_it_is_only_emulated(monkeypatch):
    monkeypatch.setattr(device, "computes_bfloat16", lambda device: False)
    with pytest.raises(BadInput) as caught:
        autocast(Recipe(precision="bfloat16"), CPU)
    assert_explains(caught.value, "`precision`", "float32 or auto", "bfloat16")
    assert (
        multiplied(Recipe(precision="auto"))
        == multiplied(Recipe(precision="float32"))
        == torch.float32
    )


def test_bfloat16_is_used_where_it_is_computed_unless_float32_is_asked_for(monkeypatch):
    monkeypatch.setattr(device, "computes_bfloat16", lambda device: True)
    assert (
        multiplied(Recipe(precision="auto"))
        == multiplied(Recipe(precision="bfloat16"))
        == torch.bfloat16
    )
    assert multiplied(Recipe(precision="float32")) == torch.float32


def test_one_process_is_a_team_with_the_threads_of_the_recipe(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    processes = join_process_group(Recipe(threads=2))
    assert (processes.rank, processes.size, torch.get_num_threads()) == (0, 1, 2)
    value = torch.tensor([1.0, 2.0])
    assert processes.together(value).tolist() == [1.0, 2.0]


def test_a_network_is_placed_with_its_filters_in_channels_last_and_its_features_follow(setting):
    network = to_device(setting.built("espalier:resnet", depth=8, width=16), CPU)
    assert network.conv.weight.is_contiguous(memory_format=torch.channels_last)
    (batch,) = setting.examples.batches([torch.arange(8)])
    features = network.stages[:1](torch.relu(network.bn(network.conv(setting.front(batch.inputs)))))
    assert features.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_but_not_where_that_layout_overruns_the_memory(setting, width):
    """Strided 1x1 filters over few channels: none of its features is in channels last, and training is exact."""
    network, exact = (
        to_device(setting.built("espalier:resnet", depth=8, width=width), CPU),
        setting.built("espalier:resnet", depth=8, width=width).double(),
    )
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_pre_hook(
                lambda layer, given: layouts.append(given[0].is_contiguous())
            )
    layouts = []
    (batch,) = setting.examples.batches([torch.arange(32)])
    for one in (network, exact):
        images = setting.front(batch.inputs).to(next(one.parameters()).dtype)
        torch.nn.functional.cross_entropy(one(images), batch.targets).backward()
    assert layouts == [True] * 9
    for (name, one), other in zip(network.named_parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("before", [False, True])
def test_denormal_numbers_are_zero_after_any_call_of_the_runtime(before):
    """ONNX Runtime says so to the thread that opens its first session; a job must not compute otherwise before it."""
    torch.set_flush_denormal(before)
    join_process_group(Recipe(threads=1))
    small = torch.full((1000,), 1e-38)
    assert not (small * 0.1).view(torch.int32).any()
