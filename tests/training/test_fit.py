import json
from contextlib import contextmanager

import pytest
import torch
from properties import assert_equal_outputs, assert_equal_weights
from torch import nn

from espalier.prediction import CLASSIFICATION
from espalier.training import engine
from espalier.training.history import Reporter, columns
from espalier.training.schedules import one_cycle


def timeless(history):
    return [
        {name: value for name, value in row.items() if name not in ("seconds", "time")}
        for row in history
    ]


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adamw", "learning_rate": 0.01}, {"ema": 0.9}], ids=str
)
def test_the_same_arguments_give_the_same_bits_after_any_random_draws(setting, changes):
    one, other = setting.network(), setting.network()
    histories = [setting.train(one, **changes)]
    torch.rand(17)
    histories.append(setting.train(other, **changes))
    assert_equal_weights(one, other)
    assert timeless(histories[0]) == timeless(histories[1])


def test_memory_is_kept_during_a_training_and_the_bits_are_those_without(setting, monkeypatch):
    entered = []

    @contextmanager
    def returned_memory():
        entered.append(True)
        yield

    one, other = setting.network(), setting.network()
    setting.train(one)
    monkeypatch.setattr(engine, "kept_memory", returned_memory)
    setting.train(other)
    assert entered == [True]
    assert_equal_weights(one, other)


def test_dropout_repeats_itself_too(setting):
    arguments = {"depth": 10, "widen": 1, "dropout": 0.3}
    one, other = (setting.built("espalier:wide_resnet", **arguments) for _ in range(2))
    setting.train(one, epochs=1)
    torch.rand(17)
    setting.train(other, epochs=1)
    assert_equal_weights(one, other)


@pytest.mark.parametrize(
    "changes", [{}, {"optimizer": "adamw", "learning_rate": 0.01}, {"ema": 0.9}], ids=str
)
def test_it_learns(setting, changes):
    network = setting.built("espalier:resnet", depth=8, width=8)
    history = setting.train(network, epochs=8, **changes)
    assert history[-1]["loss"] < history[0]["loss"] / 2
    assert history[-1]["accuracy"] > 0.8
    assert not network.training


def test_the_history_has_a_row_per_epoch_that_says_what_was_measured(setting):
    network, reported = setting.network(), []
    history = setting.train(network, report=reported.append)
    assert history == reported
    assert [tuple(row) for row in history] == [columns(CLASSIFICATION.headline)] * 3
    assert [(row["epoch"], row["step"]) for row in history] == [(1, 8), (2, 16), (3, 24)]
    rates = [0.1 * one_cycle(row["step"] - 1, 24, 0.2) for row in history]
    assert [row["learning_rate"] for row in history] == rates
    assert setting.validation.loss_and_score(network) == (
        history[-1]["validation_loss"],
        history[-1]["accuracy"],
    )
    assert all(row["seconds"] > 0 for row in history)
    assert [row["time"] for row in history] == sorted(row["time"] for row in history)


def test_the_loss_of_a_row_is_the_mean_over_the_steps_of_its_epoch(setting):
    losses = []

    def objective(seen):
        loss = torch.nn.functional.cross_entropy(seen.outputs, seen.batch.targets)
        losses.append(loss.item())
        return loss

    history = setting.train(setting.network(), objective=objective)
    assert [row["loss"] for row in history] == pytest.approx(
        [sum(losses[i : i + 8]) / 8 for i in (0, 8, 16)]
    )


def test_an_epoch_sees_each_example_at_most_once_in_a_new_order_and_the_views_in_turn(setting):
    met = []

    def objective(seen):
        met.append((seen.view, seen.batch.index.tolist()))
        return seen.outputs.square().mean()

    setting.train(setting.network(), objective=objective)
    assert [view for view, _ in met] == [0] * 8 + [1] * 8 + [0] * 8  # two views, three epochs
    epochs = [[i for _, index in met[e : e + 8] for i in index] for e in (0, 8, 16)]
    assert all(len(epoch) == len(set(epoch)) == 256 for epoch in epochs)
    assert epochs[0] != epochs[2]


def test_a_split_smaller_than_a_batch_is_one_step(setting):
    assert [row["step"] for row in setting.train(setting.network(), batch_size=1000)] == [1, 2, 3]


def test_no_epochs_train_nothing(setting):
    network = setting.network()
    assert setting.train(network, epochs=0) == []
    assert_equal_weights(network, setting.network())


def test_the_running_average_is_the_result(setting):
    """After one step w1 and a second one w2, at a decay of 0.75, it is 0.75 w1 + 0.25 w2."""
    arguments = {"batch_size": 1000, "schedule": "constant", "learning_rate": 0.01}
    plain = []
    for epochs in (1, 2):
        network = setting.built("espalier:mlp", hidden=[8])
        setting.train(network, epochs=epochs, **arguments)
        plain.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    averaged = setting.built("espalier:mlp", hidden=[8])
    setting.train(averaged, epochs=2, ema=0.75, **arguments)
    found = torch.cat([p.detach().flatten() for p in averaged.parameters()])
    assert not torch.equal(plain[0], plain[1])
    torch.testing.assert_close(found, 0.75 * plain[0] + 0.25 * plain[1], rtol=0, atol=1e-7)


def test_the_running_average_leaves_whole_numbers_as_they_are(setting):
    """Rounded down, an average of equal indices is that of others: 112.99999 becomes 112."""

    class Reordered(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("order", torch.randperm(64))
            self.head = nn.Linear(64, 10)

        def forward(self, images):
            return self.head(images.flatten(1)[:, self.order])

    network = Reordered()
    order = network.order.clone()
    setting.train(network, epochs=2, ema=0.9)
    assert torch.equal(network.order, order)


def test_a_steep_gradient_is_scaled_down_to_the_norm_that_is_allowed(setting):
    """One step of plain descent moves the weights by at most the rate times that norm."""
    arguments = {
        "epochs": 1,
        "batch_size": 1000,
        "schedule": "constant",
        "momentum": 0.0,
        "weight_decay": 0.0,
    }

    def steep(seen):
        return 1e4 * torch.nn.functional.cross_entropy(seen.outputs, seen.batch.targets)

    moved = {}
    for clip in (0.0, 2.0):
        network = setting.built("espalier:mlp", hidden=[8])
        before = torch.cat([p.detach().flatten() for p in network.parameters()]).clone()
        setting.train(network, objective=steep, clip_norm=clip, learning_rate=1e-3, **arguments)
        moved[clip] = (
            (torch.cat([p.detach().flatten() for p in network.parameters()]) - before).norm().item()
        )
    assert moved[2.0] == pytest.approx(2e-3, rel=1e-3)
    assert moved[0.0] > 1


def test_a_rest_that_wants_no_gradient_is_not_trained(setting):
    network = setting.network()
    network[0].requires_grad_(False)
    before = network[0].weight.detach().clone()
    setting.train(network, epochs=1)
    assert torch.equal(network[0].weight, before)
    fresh = setting.network()
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_equal_outputs(network, fresh, torch.randn(4, 1, 8, 8))


def test_where_there_is_no_terminal_an_epoch_is_a_line_of_json(setting, capsys):
    with Reporter("student", 3) as report:
        history = setting.train(setting.network(), report=report)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["model"], line["epochs"], line["epoch"]) for line in lines] == [
        ("student", 3, e) for e in (1, 2, 3)
    ]
    assert [line["loss"] for line in lines] == pytest.approx(
        [row["loss"] for row in history], abs=1e-6
    )
