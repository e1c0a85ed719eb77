"""A batch that does not fit into memory is computed in parts, with the gradient of the whole."""

import subprocess
import sys

import pytest
import torch
from properties import assert_equal_weights, assert_explains
from torch import nn
from torch.nn import functional as F

from espalier.errors import BadInput, Notice, TryAgain


class Fits(nn.Module):
    """Runs out of memory for more than some examples, as a GPU does."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self.sizes: list[int] = []

    def forward(self, x):
        if self.training:
            self.sizes.append(len(x))
            if len(x) > self.most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return x


def network(setting, most, norm=nn.Identity, dropout=0.0):
    layers = setting.network()
    return nn.Sequential(
        Fits(most), layers[0], norm(), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), layers[-1]
    )


def of_pairs(seen):
    """A loss that compares the examples of a batch with each other."""
    similar = F.normalize(seen.outputs) @ F.normalize(seen.outputs).T
    alike = seen.batch.targets[:, None] == seen.batch.targets
    return F.mse_loss(similar, alike.float())


def of_weighted_classes(seen):
    """A mean that divides by the weights of the classes in the batch."""
    weights = torch.linspace(0.1, 2, 10)
    return F.cross_entropy(seen.outputs, seen.batch.targets, weight=weights)


def gpu_of_16_gib(monkeypatch, own):
    """A full GPU, with so many bytes held by this process."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 2**34))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a GPU")
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda: own)


@pytest.fixture(autouse=True)
def full_gpu(monkeypatch):
    gpu_of_16_gib(monkeypatch, own=2**34)


@pytest.mark.parametrize("objective", [None, of_pairs, of_weighted_classes])
def test_the_weights_are_those_of_whole_batches(setting, objective):
    whole, parts = network(setting, 32), network(setting, 11)
    setting.train(whole, objective=objective)
    with pytest.warns(Notice, match="batch of 32 examples .* in 2 parts"):
        setting.train(parts, objective=objective)
    assert 32 in parts[0].sizes  # the first one
    assert parts[0].sizes[-1] == 8
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


class Recorder(nn.Module):
    """Keeps what passes through it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x):
        if self.training:
            self.seen.append(x.detach().clone())
        return x


def test_both_passes_over_a_part_drop_the_same_units(setting):
    recorder = Recorder()
    parts = nn.Sequential(*network(setting, 16, dropout=0.5)[:-1], recorder, setting.network()[-1])
    with pytest.warns(Notice, match="2 parts"):
        setting.train(parts, epochs=1)
    # after one example that is tried: outputs of both parts, then gradients of both
    first, second, first_again, second_again = recorder.seen[1:5]
    assert torch.equal(first, first_again)
    assert torch.equal(second, second_again)
    assert not torch.equal(first == 0, second == 0)


def test_a_resumed_training_goes_on_in_parts(setting, tmp_path):
    expected, resumed = network(setting, 8, dropout=0.1), network(setting, 8, dropout=0.1)
    with pytest.warns(Notice):
        setting.train(expected)
    with pytest.warns(Notice), pytest.raises(KeyboardInterrupt):
        setting.train(resumed, checkpoints=tmp_path, report=interrupt)
    again = network(setting, 8, dropout=0.1)
    setting.train(again, checkpoints=tmp_path)
    assert_equal_weights(again, expected)
    assert set(again[0].sizes) == {8}


def interrupt(row):
    del row
    raise KeyboardInterrupt


class Ghost(nn.Module):
    """Statistics of a batch that torch does not know of."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x):
        self.mean += 0.1 * (x.detach().mean() - self.mean)
        return x - self.mean


@pytest.mark.parametrize("norm", [lambda: nn.BatchNorm2d(8), Ghost], ids=["batch norm", "ghost"])
def test_statistics_of_a_batch_are_never_those_of_a_part(setting, norm):
    with pytest.raises(BadInput) as raised:
        setting.train(network(setting, 16, norm))
    assert_explains(raised.value, "Expected a GPU to have room", "lower `batch_size`")


def test_frozen_statistics_may_be_divided(setting):
    with pytest.warns(Notice, match="2 parts"):
        setting.train(network(setting, 16, lambda: nn.BatchNorm2d(8)), freeze=("2",))


def test_a_layer_that_the_objective_reads_is_not_divided(setting):
    read = network(setting, 16)
    read[1].register_forward_hook(lambda *given: None)
    with pytest.raises(BadInput):
        setting.train(read)


def test_one_example_too_many_ends_with_the_keys(setting):
    with pytest.raises(BadInput, match="lower `batch_size`"):
        setting.train(network(setting, 0))


def test_memory_of_others_is_waited_for(setting, monkeypatch):
    gpu_of_16_gib(monkeypatch, own=0)
    with pytest.raises(TryAgain, match="other processes hold"):
        setting.train(network(setting, 16))


UNDER_A_LIMIT = """
import resource, sys, warnings
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import nn

from espalier.training.gradients import Gradients

torch.set_num_threads(1)
warnings.simplefilter("ignore")
# an output of 256 KiB an example
network = nn.Sequential(nn.Linear(64, 2**16), nn.Tanh(), nn.Linear(2**16, 4))
gradients = Gradients(
    network, lambda heads: heads["0"].square().sum(), nullcontext, network.zero_grad, seed=0
)
inputs = torch.rand(1024, 64)
gradients.of(inputs[:8], dict, 1, 0)  # allocates what is needed once
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + int(sys.argv[1]), resource.RLIM_INFINITY))
print(gradients.of(inputs, dict, 1, 0)[1])
"""


def parts_under_a_limit(free):
    command = [sys.executable, "-c", UNDER_A_LIMIT, str(free)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="limits on the address space")
def test_memory_that_really_runs_out():
    assert parts_under_a_limit(free=2**31) == 1
    assert parts_under_a_limit(free=2**27) > 2
