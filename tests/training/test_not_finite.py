"""A loss that is not finite never passes into the weights."""

import pytest
import torch
from properties import assert_equal_weights, assert_explains
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
