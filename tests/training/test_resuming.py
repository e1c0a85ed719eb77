"""Stopped or killed at any moment and called again, training ends with the bits of an undisturbed run."""

import os
import signal

import pytest
import torch
from properties import assert_equal_weights
from torch.nn import functional as F

from espalier.errors import Stopped
from espalier.training.checkpoint import Checkpoints

WAYS = {
    "sgd": {},
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01},
    "average": {"ema": 0.9},
    "patience": {"patience": 5, "schedule": "constant"},
    "constant": {"schedule": "constant", "momentum": 0.0, "learning_rate": 0.05},
}


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the engine may answer it."""


def asking(step):
    """An objective in which SIGTERM arrives at a step, counted from 1 over all epochs."""
    met = 0

    def objective(seen):
        nonlocal met
        met += 1
        if met == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return F.cross_entropy(seen.outputs, seen.batch.targets)

    return objective


def killed_at(step):
    met = 0

    def objective(seen):
        nonlocal met
        met += 1
        if met == step:
            raise Killed
        return F.cross_entropy(seen.outputs, seen.batch.targets)

    return objective


def timeless(history):
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "time")}
        for row in history
    ]


@pytest.fixture(scope="module")
def undisturbed(setting):
    """The networks and histories of whole runs, by the name of their way."""
    runs = {}
    for name, changes in WAYS.items():
        network = setting.network()
        runs[name] = network, setting.train(network, **changes)
    return runs


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [1, 8, 11, 24])
def test_stopped_at_a_step(setting, undisturbed, tmp_path, way, step):
    """The 8th is the last of the first epoch, the 24th of all."""
    expected, history = undisturbed[way]
    with pytest.raises(Stopped, match=rf"after step {step}; the checkpoint is written"):
        setting.train(setting.network(), objective=asking(step), checkpoints=tmp_path, **WAYS[way])
    network = setting.network()
    assert timeless(setting.train(network, checkpoints=tmp_path, **WAYS[way])) == timeless(history)
    assert_equal_weights(network, expected)


@pytest.mark.parametrize("way", WAYS)
def test_stopped_between_two_epochs(setting, undisturbed, tmp_path, way):
    expected, history = undisturbed[way]

    def ask(row):
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped):
        setting.train(setting.network(), report=ask, checkpoints=tmp_path, **WAYS[way])
    network = setting.network()
    assert timeless(setting.train(network, checkpoints=tmp_path, **WAYS[way])) == timeless(history)
    assert_equal_weights(network, expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("step", [3, 9, 20])
def test_killed_at_a_step(setting, undisturbed, tmp_path, way, step):
    expected, history = undisturbed[way]
    with pytest.raises(Killed):
        setting.train(
            setting.network(), objective=killed_at(step), checkpoints=tmp_path, **WAYS[way]
        )
    network = setting.network()
    assert timeless(setting.train(network, checkpoints=tmp_path, **WAYS[way])) == timeless(history)
    assert_equal_weights(network, expected)


def test_stopped_and_killed_again_and_again(setting, undisturbed, tmp_path):
    expected, history = undisturbed["average"]
    for objective in (asking(3), killed_at(2), asking(4), killed_at(3), asking(1), killed_at(9)):
        with pytest.raises((Stopped, Killed)):
            setting.train(setting.network(), objective=objective, checkpoints=tmp_path, ema=0.9)
    network = setting.network()
    assert timeless(setting.train(network, checkpoints=tmp_path, ema=0.9)) == timeless(history)
    assert_equal_weights(network, expected)


def test_finished_epochs_are_not_repeated(setting, tmp_path):
    with pytest.raises(Killed):
        setting.train(setting.network(), objective=killed_at(20), checkpoints=tmp_path)
    steps = []

    def objective(seen):
        steps.append(seen.view)
        return F.cross_entropy(seen.outputs, seen.batch.targets)

    setting.train(setting.network(), objective=objective, checkpoints=tmp_path)
    assert len(steps) == 8  # the third epoch, from its beginning


def test_a_damaged_checkpoint_costs_time_and_no_bits(setting, undisturbed, tmp_path):
    with pytest.raises(Killed):
        setting.train(setting.network(), objective=killed_at(20), checkpoints=tmp_path)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    network = setting.network()
    setting.train(network, checkpoints=tmp_path)
    assert_equal_weights(network, undisturbed["sgd"][0])


def test_a_finished_run_is_read_from_its_checkpoint(setting, undisturbed, tmp_path):
    setting.train(setting.network(), checkpoints=tmp_path)
    network = setting.network()
    again = setting.train(network, objective=killed_at(1), checkpoints=tmp_path)
    assert timeless(again) == timeless(undisturbed["sgd"][1])
    assert_equal_weights(network, undisturbed["sgd"][0])


def test_going_back_after_a_stop_goes_to_the_same_epoch_as_without_it(setting, tmp_path):
    """The checkpoint of a stop in the middle of an epoch holds the last good epoch as well."""

    def bad_once():
        """A loss that is not a number in the sixth step of the second epoch, once."""
        steps, done = [0, 0], []

        def objective(seen):
            steps[seen.view] += 1
            loss = F.cross_entropy(seen.outputs, seen.batch.targets)
            if seen.view == 1 and steps[1] == 6 and not done:
                done.append(True)
                return loss * torch.nan
            return loss

        return objective

    expected = setting.network()
    history = setting.train(expected, objective=bad_once())
    objective, asked = bad_once(), []

    def stopping(seen):
        asked.append(seen.view)
        if len(asked) == 11:
            os.kill(os.getpid(), signal.SIGTERM)
        return objective(seen)

    with pytest.raises(Stopped):
        setting.train(setting.network(), objective=stopping, checkpoints=tmp_path)
    network = setting.network()
    again = setting.train(network, objective=stopping, checkpoints=tmp_path)
    assert timeless(again) == timeless(history)
    assert_equal_weights(network, expected)


def test_sigterm_means_afterwards_what_it_meant_before(setting):
    def mine(number, frame): ...

    former = signal.signal(signal.SIGTERM, mine)
    try:
        setting.train(setting.network(), epochs=1)
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, former)


def test_without_checkpoints_a_stop_says_so_by_the_same_error(setting, tmp_path):
    with pytest.raises(Stopped):
        setting.train(setting.network(), objective=asking(2))
    assert Checkpoints(tmp_path).read() is None
