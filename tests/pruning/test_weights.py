"""Masks: how many zeros and which, that they stay, and what is refused."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from properties import assert_equal_outputs, assert_explains, assert_input_untouched
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.errors import BadInput, Notice
from espalier.models import build, load, save
from espalier.models.structure import masked_weights
from espalier.pruning import prune
from espalier.pruning.finding import find_weight_elements
from espalier.pruning.masks import lowest, n_of_m
from espalier.training.constraints import constraints_of

SHAPE = (1, 8, 8)

prune_weights = partial(prune, pattern="weights")


def images(count: int = 2) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def resnet() -> nn.Module:
    return build(
        "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 8, "width": 8}
    ).eval()


def zeros(network: nn.Module) -> dict[str, float]:
    """The part of each layer's weights that is zero."""
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    return {name: float((layer.weight == 0).float().mean()) for name, layer in layers}


def masks(network: nn.Module) -> dict[str, Tensor]:
    return {
        name: parameter == 0 for name, parameter in network.named_parameters() if parameter.ndim > 1
    }


# ---- masks, by hand


def test_the_lowest_go_over_all_layers_but_the_best_of_each():
    scores, layer = np.array([0.1, 0.2, 3.0, 0.5, 0.4, 0.3]), np.array([0, 0, 1, 1, 1, 1])
    assert lowest(scores, layer, 0.5).tolist() == [False, True, True, True, False, False]
    assert lowest(scores, layer, 1.0).tolist() == [False, True, True, False, False, False]
    assert lowest(scores, layer, 0.0).all()


def test_n_of_m_keeps_the_best_n_of_each_m_along_the_inputs():
    scores = np.array([[1.0, 4, 2, 3, 9, 9], [4.0, 3, 2, 1, 0, 0]])
    assert n_of_m(scores, 2, 4).tolist() == [
        [False, True, False, True, True, True],
        [True, True, False, False, True, True],
    ]
    filters = np.random.default_rng(0).random((3, 8, 2, 2))
    kept = n_of_m(filters, 1, 4)
    assert (kept.reshape(3, 2, 4, 2, 2).sum(2) == 1).all()
    assert (filters * kept).reshape(3, 2, 4, 2, 2).max(2) == pytest.approx(
        filters.reshape(3, 2, 4, 2, 2).max(2)
    )


# ---- networks


@pytest.mark.parametrize("sparsity", [0.3, 0.9])
@pytest.mark.parametrize("score", ["magnitude", "lamp", "random"])
def test_the_fraction_is_met_over_all_layers_and_the_classifier_stays(sparsity, score):
    network = resnet()
    with assert_input_untouched(network), warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        pruned = prune_weights(network, images(), sparsity=sparsity, score=score)
    assert zeros(pruned)["head"] == 0
    weights = [
        layer.weight for name, layer in pruned.named_modules() if isinstance(layer, nn.Conv2d)
    ]
    found = torch.cat([(weight == 0).flatten() for weight in weights]).float().mean().item()
    assert found == pytest.approx(sparsity, abs=1e-3)
    assert not pruned.training
    kept = {
        name: (before != after) & (after != 0)
        for (name, before), after in zip(
            network.state_dict().items(), pruned.state_dict().values(), strict=True
        )
    }
    assert not any(changed.any() for changed in kept.values())  # what stays is as it was


def test_uniform_takes_the_same_fraction_of_every_layer():
    pruned = prune_weights(resnet(), images(), sparsity=0.75, budget="uniform")
    found = {name: part for name, part in zeros(pruned).items() if name != "head"}
    assert list(found.values()) == pytest.approx([0.75] * len(found), abs=0.01)
    lamp = prune_weights(resnet(), images(), sparsity=0.75, score="lamp")
    assert np.std([part for name, part in zeros(lamp).items() if name != "head"]) > 0.05


def test_sensitivity_spares_the_layers_that_the_loss_depends_on():
    """One of two branches of equal size hardly counts: it loses most of its weights, whatever they score."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.loud, self.still, self.head = (
                nn.Linear(64, 32),
                nn.Linear(64, 32),
                nn.Linear(32, 10),
            )

        def forward(self, x: Tensor) -> Tensor:
            x = x.flatten(1)
            return self.head(self.loud(x).relu() + 1e-3 * self.still(x).relu())

    network = Branches()
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    answers = network(images(32)).argmax(1)

    def losses(network):
        yield F.cross_entropy(network(images(32)), answers)

    with torch.no_grad():
        pruned = prune_weights(
            network, images(), sparsity=0.5, score="random", budget="sensitivity", losses=losses
        )
        found = zeros(pruned)
        assert (found["loud"] + found["still"]) / 2 == pytest.approx(0.5, abs=0.01)
        assert found["still"] > 0.9
        evenly = prune_weights(network, images(), sparsity=0.5, score="random", budget="uniform")
        assert next(losses(pruned)) < 0.5 * next(losses(evenly))


def test_exactly_the_weights_below_the_threshold_are_removed():
    network = resnet()
    pruned = prune_weights(network, images(), score="threshold", below=0.1)
    for (name, before), after in zip(network.named_parameters(), pruned.parameters(), strict=True):
        gone = (before.abs() < 0.1) & (before.ndim > 1) & (name != "head.weight")
        assert torch.equal(after == 0, gone | (before == 0))


def test_a_threshold_above_all_weights_of_a_layer_leaves_its_largest_one():
    """An empty layer would give the same answer to every input."""
    network = resnet()
    with torch.no_grad():
        network.conv.weight.mul_(1e-3)
    with pytest.warns(Notice, match="All of conv.weight is below"):
        pruned = prune_weights(network, images(), score="threshold", below=0.1)
    before, after = network.conv.weight.abs(), pruned.conv.weight
    assert after.count_nonzero() == 1
    assert before.flatten()[after.flatten().nonzero()] == before.max()


def test_weights_inside_of_a_layer_to_keep_stay():
    network = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32)),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.Linear(32, 10),
    )
    pruned = prune_weights(network, images(), sparsity=0.5, keep=("1",))
    assert {name for name, part in zeros(pruned).items() if part > 0} == {"3"}


def test_two_of_four_along_the_inputs_of_every_layer_that_has_four():
    pruned = prune_weights(resnet(), images(), pattern="n_of_m")
    for name, layer in pruned.named_modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.shape[1] % 4 == 0:
            groups = layer.weight.movedim(1, -1).reshape(-1, 4)
            assert ((groups != 0).sum(1) == 2).all(), name
    assert zeros(pruned)["conv"] == zeros(pruned)["head"] == 0  # one input; the classifier
    assert max(zeros(pruned).values()) == 0.5


def test_named_layers_and_every_last_layer_stay():
    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.named, self.one, self.two = (
                nn.Linear(64, 8),
                nn.Linear(8, 8),
                nn.Linear(8, 3),
                nn.Linear(8, 2),
            )

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.named(self.first(x.flatten(1)).relu()).relu()
            return self.one(y).softmax(1), self.two(y)

    assert list(find_weight_elements(TwoHeads(), images()).shapes) == [
        "first.weight",
        "named.weight",
    ]
    pruned = prune_weights(TwoHeads(), images(), sparsity=0.5, keep=("named",))
    assert {name: part > 0 for name, part in zeros(pruned).items()} == {
        "first": True,
        "named": False,
        "one": False,
        "two": False,
    }


def test_a_weight_that_two_layers_share_counts_once():
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 3)
            self.b.weight = self.a.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.b(self.a(x.flatten(1)).relu()).relu())

    assert find_weight_elements(Shared(), images()).shapes == {"a.weight": (64, 64)}
    pruned = prune_weights(Shared(), images(), sparsity=0.5)
    assert pruned.a.weight is pruned.b.weight
    assert masked_weights(pruned) == ("a.weight",)
    assert len(constraints_of(pruned)) == 1


def test_the_weights_of_attention_are_found_wherever_they_are_kept():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.attention, self.head = (
                nn.Conv2d(1, 8, 1),
                nn.MultiheadAttention(8, 2, batch_first=True),
                nn.Linear(8, 3),
            )

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x).flatten(2).transpose(1, 2)
            return self.head(self.attention(y, y, y)[0].mean(1))

    found = find_weight_elements(Attention(), images()).shapes
    assert list(found) == ["first.weight", "attention.in_proj_weight", "attention.out_proj.weight"]


def test_masks_stay_through_training_saving_and_further_pruning(tmp_path):
    pruned = prune_weights(resnet(), images(), sparsity=0.6)
    before = masks(pruned)
    rules, optimizer = (
        constraints_of(pruned),
        torch.optim.SGD(pruned.parameters(), 0.1, momentum=0.9),
    )
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(pruned(images(8)), torch.arange(8)).backward()
        for rule in rules:
            rule.before_step()
        optimizer.step()
        for rule in rules:
            rule.after_step()
    assert all((masks(pruned)[name] >= mask).all() for name, mask in before.items())
    assert sum(int(mask.sum()) for mask in masks(pruned).values()) == sum(
        int(mask.sum()) for mask in before.values()
    )
    save(pruned, tmp_path / "model")
    again = load(tmp_path / "model")
    assert_equal_outputs(pruned, again, images())
    assert masked_weights(again) == masked_weights(pruned) != ()
    further = prune_weights(
        again, images(), sparsity=0.8, score="random"
    )  # whatever the score of what is gone
    assert all((masks(further)[name] >= mask).all() for name, mask in before.items())
    prunable = [mask for name, mask in masks(further).items() if name != "head.weight"]
    assert torch.cat([mask.flatten() for mask in prunable]).float().mean() == pytest.approx(
        0.8, abs=1e-3
    )
    assert set(masked_weights(further)) >= set(masked_weights(again))


def test_a_mask_without_zeros_is_reported_and_changes_nothing():
    pruned = prune_weights(resnet(), images(), sparsity=0.6)
    with pytest.warns(Notice, match=r"Pruning removed nothing: 60.0 % of the weights are zero."):
        same = prune_weights(pruned, images(), sparsity=0.5)
    assert_equal_outputs(same, pruned, images())


def test_a_target_blocked_by_the_best_weight_of_each_layer_is_reported():
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 1), *(nn.Linear(1, 1) for _ in range(20)), nn.Linear(1, 2)
    )
    with pytest.warns(Notice, match=r"Expected 95.0 % of the weights to be zero; found 75.0 %."):
        prune_weights(network, images(), sparsity=0.95)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sparsity": 1.5}, ["`sparsity`", "(0, 1]", "1.5"]),
        ({"sparsity": None}, ["sparsity, below", "none"]),
        ({"below": 0.1}, ["several targets", "`sparsity`"]),
        ({"sparsity": None, "score": "threshold", "below": -1.0}, ["`below`", "-1.0"]),
        ({"score": "threshold"}, ["`below`", "`score: threshold`"]),
        ({"score": "norm_scale"}, ["norm_scale", "whole channels"]),
        ({"budget": "latency"}, ["`budget`", "global, uniform, sensitivity", "'latency'"]),
        ({"pattern": "n_of_m"}, ["n_of_m", "no target"]),
        ({"pattern": "n_of_m", "sparsity": None, "n": 4}, ["`n`", "`n: 4`"]),
        ({"keep": ("stem",)}, ["`keep`", "'stem'"]),
        ({"score": "taylor"}, ["`score: taylor`", "losses"]),
        ({"budget": "sensitivity"}, ["`sensitivity`", "losses"]),
    ],
)
def test_impossible_requests_are_refused_in_a_sentence(arguments, words):
    network = resnet().train()
    with assert_input_untouched(network), pytest.raises(BadInput) as refusal:
        prune_weights(network, images(), **({"sparsity": 0.5} | arguments))
    assert_explains(refusal.value, *words)


def test_a_network_of_one_classifier_has_nothing_to_mask():
    with pytest.raises(BadInput) as refusal:
        prune_weights(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), images(), sparsity=0.5)
    assert_explains(refusal.value, "convolutions or linear layers")
