import json

import pytest
import torch
from torch import nn

from espalier.training.checkpoint import Checkpoints, flatten, restore

STATE = {
    "network.weight": torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last),
    "step": torch.tensor(3),
}


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_is_read_as_it_was_written(tmp_path):
    progress = {"step": 7, "loss": 0.1 + 0.2, "history": [{"accuracy": 1 / 3}]}
    Checkpoints(tmp_path).write(STATE, progress)
    state, read = Checkpoints(tmp_path).read()
    assert read == progress
    assert {
        name: torch.equal(value, STATE[name]) for name, value in state.items()
    } == dict.fromkeys(STATE, True)


def test_there_is_none_before_the_first(tmp_path):
    assert Checkpoints(tmp_path / "one").read() is None


def test_only_the_last_is_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2, 10):
        checkpoints.write(STATE, {"step": step})
    assert len(list(tmp_path.iterdir())) == 1
    assert checkpoints.read()[1]["step"] == 10


def test_of_two_that_a_kill_left_the_further_counts(tmp_path):
    """As numbers: 10 is further than 9."""
    for step in (9, 10):
        Checkpoints(tmp_path / str(step)).write(STATE, {"step": step})
    for path in (tmp_path / "10").iterdir():
        path.rename(tmp_path / "9" / path.name)
    assert Checkpoints(tmp_path / "9").read()[1]["step"] == 10


def test_a_damaged_one_does_not_count(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(STATE, {"step": 1})
    first = next(tmp_path.iterdir())
    kept = first.read_bytes()
    checkpoints.write(STATE, {"step": 2})
    damage(next(tmp_path.iterdir()))
    assert checkpoints.read() is None
    first.write_bytes(kept)
    assert checkpoints.read()[1]["step"] == 1


def test_a_partially_written_checkpoint_is_ignored(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(STATE, {"step": 1})
    whole = next(tmp_path.iterdir())
    (tmp_path / f".{whole.name}.0123").write_bytes(whole.read_bytes()[:100])
    (tmp_path / f"checkpoint-{'0' * 32}.safetensors").write_bytes(whole.read_bytes()[:100])
    assert checkpoints.read()[1]["step"] == 1


def test_there_is_no_pickle_in_it(tmp_path):
    Checkpoints(tmp_path).write(STATE, {"step": 1})
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    assert header.pop("__metadata__") == {"progress": '{"step": 1}'}
    assert set(header) == set(STATE)
    assert len(content) - end == sum(
        value.nbytes for value in STATE.values()
    )  # behind the header, numbers alone


@pytest.mark.parametrize(
    "kind",
    [
        lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9, nesterov=True, fused=True),
        lambda weights: torch.optim.AdamW(weights, lr=0.1, fused=True),
    ],
)
def test_a_network_and_its_optimizer_go_on_as_if_nothing_had_been(kind):
    def optimizer_and_network():
        network = nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 2)
        )
        network = network.to(memory_format=torch.channels_last)
        return {"network": network, "optimizer": kind(network.parameters())}

    def step(parts):
        parts["optimizer"].zero_grad()
        parts["network"](torch.linspace(0, 1, 48).reshape(3, 1, 4, 4)).square().sum().backward()
        parts["optimizer"].step()

    one, other = optimizer_and_network(), optimizer_and_network()
    step(one)
    saved = flatten(one)
    step(one)  # what was saved must not change with it
    restore(other, saved)
    step(other)
    for name, value in one["network"].state_dict().items():
        assert torch.equal(value, other["network"].state_dict()[name]), name
    restore(one, saved)
    step(one)
    for name, value in one["network"].state_dict().items():
        assert torch.equal(value, other["network"].state_dict()[name]), name
