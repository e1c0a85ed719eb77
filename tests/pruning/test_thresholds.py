"""Thresholds at the mean importance of a layer."""

import re

import numpy as np
import pytest
import torch
from torch import nn

from espalier.errors import BadInput, Notice
from espalier.params import check
from espalier.pruning import prune
from espalier.pruning.target import Target
from espalier.pruning.thresholds import thresholds


def network():
    torch.manual_seed(0)
    layers = [nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(10, 4))


def test_the_threshold_is_a_factor_of_the_mean_of_each_layer():
    scores, layer = np.array([1.0, 3, 10, 30]), np.array([0, 0, 1, 1])
    assert thresholds(Target("below_mean", 1.0), scores, layer).tolist() == [2, 2, 20, 20]
    assert thresholds(Target("below_mean", 0.5), scores, layer).tolist() == [1, 1, 10, 10]
    assert thresholds(Target("below", 5.0), scores, layer).tolist() == [5, 5, 5, 5]


def test_former_zeros_are_in_no_mean():
    scores, layer = np.array([-np.inf, 2.0, 4.0]), np.zeros(3, np.int64)
    assert thresholds(Target("below_mean", 1.0), scores, layer).tolist() == [3, 3, 3]


def test_weights_below_the_mean_of_their_layer_become_zero():
    before = network()
    after = prune(before, torch.zeros(2, 16), pattern="weights", below_mean=1.0)
    for ours, theirs in zip(before, after, strict=True):
        if isinstance(ours, nn.Linear) and ours.out_features != 4:
            sizes = ours.weight.abs()
            assert torch.equal(theirs.weight == 0, sizes < sizes.mean())


def test_channels_below_the_mean_of_their_layer_are_removed():
    wide = network()
    wide[1].weight.data[:5] *= 0.01
    smaller = prune(wide, torch.zeros(2, 16), below_mean=0.5, score="l1", align=1)
    assert smaller[1].out_features == 7
    assert smaller(torch.zeros(2, 16)).shape == (2, 4)


@pytest.mark.parametrize(
    ("align", "widths", "reasons"),
    [
        (8, (16, 8), "13 stay: 7 because whole portions of `align: 8` are removed (`align: 1`"),
        (8, (16, 8), "removes them), 6 because a cut keeps a quarter of each layer (a second"),
        (1, (9, 8), "found that 6 stay: 6 because a cut keeps a quarter of each layer (a second"),
    ],
)
def test_channels_below_a_threshold_that_stay_are_counted_with_the_reason(align, widths, reasons):
    layers = [nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)]
    before = nn.Sequential(*layers)
    for layer, zeros in ((before[0], 7), (before[2], 30)):
        for parameter in layer.parameters():
            parameter.data[:zeros] = 0
    with pytest.warns(Notice, match=re.escape(reasons)) as notices:
        after = prune(before, torch.zeros(2, 8), below=1e-3, score="threshold", align=align)
    assert (after[0].out_features, after[2].out_features) == widths
    assert "Expected the 37 channels that score below `below: 0.001`" in str(notices[0].message)


def test_there_is_no_notice_if_every_channel_below_the_threshold_is_removed(recwarn):
    wide = network()
    wide[1].weight.data[:5] *= 0.01
    prune(wide, torch.zeros(2, 16), below_mean=0.5, score="l1", align=1)
    assert not [one for one in recwarn if issubclass(one.category, Notice)]


def test_a_threshold_is_reached_in_one_step():
    with pytest.raises(BadInput, match="several `steps`"):
        check(
            {
                "teacher": {"model": "espalier:mlp", "epochs": 1},
                "models": {
                    "cut": {
                        "from": "teacher",
                        "by": "prune",
                        "below_mean": 1.0,
                        "schedule": "linear",
                        "steps": 3,
                    }
                },
            }
        )
