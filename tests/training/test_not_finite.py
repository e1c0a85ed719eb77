"""A loss that is not finite never passes into the weights."""

from dataclasses import replace

import pytest
import torch
from properties import assert_equal_weights, assert_explains
from torch import nn
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.training.checkpoint import Checkpoints


def bad_at(*steps, value=torch.nan):
    """An objective that is not finite in these steps of all steps, counted from 1."""
    views = []

    def objective(seen):
        views.append(seen.view)
        loss = F.cross_entropy(seen.outputs, seen.batch.targets)
        return loss * value if len(views) in steps else loss

    objective.views = views
    return objective


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_once_goes_back_to_the_last_good_epoch_with_half_the_rate(setting, tmp_path, value):
    network, objective = setting.network(), bad_at(13, value=value)
    history = setting.train(network, objective=objective, schedule="constant", checkpoints=tmp_path)
    assert [row["learning_rate"] for row in history] == [0.1, 0.05, 0.05]
    assert [(row["epoch"], row["step"]) for row in history] == [(1, 8), (2, 16), (3, 24)]
    assert (
        objective.views == [0] * 8 + [1] * 5 + [1] * 8 + [0] * 8
    )  # the second epoch was begun anew
    assert all(value.isfinite().all() for value in network.state_dict().values())
    assert history[-1]["accuracy"] > history[0]["accuracy"]


def test_the_epoch_begins_anew_from_the_weights_that_it_began_with(setting):
    expected = setting.network()
    setting.train(expected, epochs=1, schedule="constant")
    network, views, found = setting.network(), [], []

    def objective(seen):
        views.append(seen.view)
        if len(views) == 14:  # the first step after the return
            found.extend(parameter.detach().clone() for parameter in network.parameters())
        loss = F.cross_entropy(seen.outputs, seen.batch.targets)
        return loss * torch.nan if len(views) == 13 else loss

    setting.train(network, epochs=2, objective=objective, schedule="constant")
    assert all(
        torch.equal(one, other) for one, other in zip(found, expected.parameters(), strict=True)
    )


def test_in_the_first_epoch_goes_back_to_the_beginning(setting):
    network = setting.network()
    history = setting.train(network, objective=bad_at(1, 4), schedule="constant")
    assert [row["learning_rate"] for row in history] == [0.025] * 3


@pytest.mark.parametrize("rollbacks", [0, 2])
def test_again_and_again_gives_up_in_a_sentence(setting, tmp_path, rollbacks):
    objective = bad_at(*range(10, 1000))
    with pytest.raises(BadInput) as caught:
        setting.train(
            setting.network(), objective=objective, checkpoints=tmp_path, rollbacks=rollbacks
        )
    assert_explains(
        caught.value, "loss nan", "epoch 2", f"{rollbacks} returns", "`learning_rate = 0.1`"
    )
    assert len(objective.views) == 10 + rollbacks  # a step at a time
    state, progress = Checkpoints(tmp_path).read()
    assert progress["epoch"] == 1
    assert all(value.isfinite().all() for value in state.values())


def test_giving_up_is_not_forgotten_by_trying_again(setting, tmp_path):
    """The returns are counted in the checkpoint: the next try fails after one step."""
    for steps in (12, 1):
        objective = bad_at(*range(1 if steps == 1 else 10, 1000))
        with pytest.raises(BadInput):
            setting.train(setting.network(), objective=objective, checkpoints=tmp_path, rollbacks=2)
        assert len(objective.views) == steps


def test_a_gradient_that_is_not_finite_counts_as_well(setting):
    views = []

    def objective(seen):
        views.append(seen.view)
        loss = F.cross_entropy(seen.outputs, seen.batch.targets)
        if len(views) == 10:
            seen.outputs.register_hook(lambda gradient: gradient * torch.inf)
        return loss

    history = setting.train(setting.network(), objective=objective, schedule="constant")
    assert [row["learning_rate"] for row in history] == [0.1, 0.05, 0.05]
    assert views == [0] * 8 + [1] * 2 + [1] * 8 + [0] * 8  # in that very step: no weight took it up


def test_in_the_very_last_step_goes_back_as_well(setting):
    network, objective = setting.network(), bad_at(24)
    history = setting.train(network, objective=objective, schedule="constant")
    assert [(row["epoch"], row["step"]) for row in history] == [(1, 8), (2, 16), (3, 24)]
    assert [row["learning_rate"] for row in history] == [0.1, 0.1, 0.05]
    assert all(value.isfinite().all() for value in network.state_dict().values())


class BadGradient(nn.Module):
    """An objective with a weight of its own, whose gradient is infinite in one step; the network's are finite."""

    def __init__(self, step):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.step, self.steps = step, 0

    def forward(self, seen):
        self.steps += 1
        scale = self.scale * 1
        if self.steps == self.step:
            scale.register_hook(lambda gradient: gradient * torch.inf)
        return F.cross_entropy(seen.outputs, seen.batch.targets) + scale.square()


@pytest.mark.parametrize(
    "step", [10, 16]
)  # in an epoch, and at the end of one: the return is to that state
def test_a_gradient_of_the_objective_that_is_not_finite_counts_as_well(setting, step):
    objective = BadGradient(step)
    history = setting.train(setting.network(), objective=objective, schedule="constant")
    assert [row["learning_rate"] for row in history] == [0.1, 0.05, 0.05]
    assert objective.scale.isfinite()
    assert objective.steps == step + 16


def spoil_statistics(network, *steps):
    """A finite objective; after these steps the network's running mean is NaN, which validation alone meets."""
    taken = []

    def objective(seen):
        taken.append(seen.view)
        if len(taken) in steps:
            network[1].running_mean = torch.full_like(network[1].running_mean, torch.nan)
        return F.cross_entropy(seen.outputs, seen.batch.targets)

    objective.taken = taken
    return objective


def test_a_validation_that_is_not_finite_goes_back_although_every_loss_was(setting, tmp_path):
    network = setting.network()
    objective = spoil_statistics(network, 16)
    history = setting.train(network, objective=objective, schedule="constant", checkpoints=tmp_path)
    assert [row["learning_rate"] for row in history] == [0.1, 0.05, 0.05]
    assert len(objective.taken) == 8 + 8 + 8 + 8
    assert all(value.isfinite().all() for value in network.state_dict().values())
    assert all(value.isfinite().all() for value in Checkpoints(tmp_path).read()[0].values())


def test_a_validation_that_is_never_finite_gives_up_in_a_sentence(setting):
    network = setting.network()
    objective = spoil_statistics(network, *range(1, 1000))
    with pytest.raises(BadInput) as caught:
        setting.train(network, objective=objective, rollbacks=1)
    assert_explains(caught.value, "validation loss nan", "epoch 1", "1 returns")


def test_an_infinite_input_gives_up_in_a_sentence_and_no_weight_takes_it_up(setting):
    """Data with such values are refused when they are prepared; this is the training's own guard."""

    def front(images):
        seen = setting.front(images)
        seen[0, 0, 0, 0] = torch.inf
        return seen

    network = setting.network()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    with pytest.raises(BadInput) as caught:
        replace(setting, front=front).train(network, rollbacks=2)
    assert_explains(caught.value, "loss nan", "epoch 1", "2 returns", "an input")
    assert all(torch.equal(*pair) for pair in zip(before, network.parameters(), strict=True))


def test_a_rate_that_is_far_too_large_is_halved_until_it_trains(setting):
    network = setting.built("espalier:mlp", hidden=[8])
    history = setting.train(
        network,
        schedule="constant",
        learning_rate=1e30,
        clip_norm=0.0,
        rollbacks=150,
        weight_decay=0.0,
        epochs=1,
    )
    assert history[0]["learning_rate"] < 1e30
    assert all(value.isfinite().all() for value in network.state_dict().values())


def test_two_runs_that_go_back_end_with_the_same_bits(setting):
    one, other = setting.network(), setting.network()
    setting.train(one, objective=bad_at(13), ema=0.9, optimizer="adamw", learning_rate=0.01)
    setting.train(other, objective=bad_at(13), ema=0.9, optimizer="adamw", learning_rate=0.01)
    assert_equal_weights(one, other)
