"""Early stopping: training ends when validation has stopped to improve, with the best epoch's weights."""

import pytest
import torch
from torch.nn import functional as F

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


def collapsing(network, step):
    """An objective that is finite everywhere, after whose last step the network answers the same class always."""
    steps = []

    def objective(seen):
        steps.append(seen.view)
        loss = F.cross_entropy(seen.outputs, seen.batch.targets)
        # a huge gradient of one bias alone: every loss before the update is as usual
        return loss - 1e6 * network[-1].bias[0] if len(steps) == step else loss

    return objective


@pytest.mark.parametrize("patience", [0, 5])
def test_a_collapse_in_the_last_of_all_steps_is_undone_by_patience_and_else_recorded(
    setting, patience
):
    network = setting.network()
    history = setting.train(
        network,
        objective=collapsing(network, step=40),
        schedule="constant",
        epochs=5,
        clip_norm=0.0,
        patience=patience,
    )
    scores = [row["accuracy"] for row in history]
    assert len(scores) == 5
    assert scores[-1] < 0.25 < max(scores)
    _, score = setting.validation.loss_and_score(network)
    best = min(history, key=lambda row: row["validation_loss"])
    assert score == pytest.approx((best if patience else history[-1])["accuracy"])


def test_patience_below_zero_is_refused():
    with pytest.raises(BadInput, match="`patience` to be at least 0"):
        Recipe(patience=-1)
