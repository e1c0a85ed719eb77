"""Early stopping: training ends when validation has stopped to improve, with the best epoch's weights."""

import pytest
import torch

from espalier.errors import BadInput
from espalier.training.recipe import Recipe

DIVERGING = {"schedule": "constant", "learning_rate": 0.4, "momentum": 0.0, "epochs": 30}


def test_the_result_is_the_epoch_with_the_lowest_validation_loss(setting):
    network = setting.network()
    history = setting.train(network, patience=3, **DIVERGING)
    losses = [row["validation_loss"] for row in history]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 3 < 30
    loss, _ = setting.validation.loss_and_score(network)
    assert loss == pytest.approx(min(losses), abs=1e-6)


def test_its_epochs_are_those_of_a_longer_training(setting):
    short = setting.train(setting.network(), patience=2, **DIVERGING)
    whole = setting.train(setting.network(), **DIVERGING)
    assert [row["loss"] for row in short] == [row["loss"] for row in whole][: len(short)]


def test_without_patience_the_last_epoch_is_the_result(setting):
    network = setting.network()
    history = setting.train(network, **{**DIVERGING, "epochs": 6})
    loss, _ = setting.validation.loss_and_score(network)
    assert loss == pytest.approx(history[-1]["validation_loss"], abs=1e-6)


def test_a_running_average_is_what_is_judged_and_kept(setting):
    network = setting.network()
    history = setting.train(network, patience=2, ema=0.9, **DIVERGING)
    loss, _ = setting.validation.loss_and_score(network)
    assert loss == pytest.approx(min(row["validation_loss"] for row in history), abs=1e-6)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_patience_below_zero_is_refused():
    with pytest.raises(BadInput, match="`patience` to be at least 0"):
        Recipe(patience=-1)
