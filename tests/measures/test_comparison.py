"""Whether a model is faster than its parent, and what it was measured on."""

import numpy as np
import pytest
import torch
from properties import example_of
from torch import nn
from torchvision.models import VisionTransformer

from espalier.measures.comparison import Comparison, compare_latency
from espalier.measures.device import processor
from espalier.measures.macs import count_macs

BATCH = np.zeros((1, 1, 2, 2), np.uint8)


def busy(rounds):
    """Work on the calling thread, in proportion."""
    matrix = np.ones((60, 60))

    def run(batch):
        for _ in range(rounds):
            matrix @ matrix

    return run


def opened(parent, child):
    return lambda: {"parent": busy(parent), "child": busy(child)}


def test_half_the_work_is_twice_as_fast():
    found = compare_latency(opened(400, 200), BATCH, 1.0)
    assert 1.6 < found.speed < 2.5
    assert not found.slower
    assert found.speed == found.parent / found.child
    assert compare_latency(opened(200, 400), BATCH, 1.0).slower


def test_a_model_is_not_slower_than_itself_by_what_measurements_differ():
    assert not Comparison(1.0, 1.02).slower
    assert Comparison(1.0, 1.05).slower


def test_a_slow_comparison_is_skipped_unless_it_is_patient():
    calls = []

    def counted():
        def run(batch):
            calls.append(batch)

        return {"parent": run, "child": busy(2000)}

    assert compare_latency(counted, BATCH, 1e-3) is None
    assert len(calls) == 3  # two of them are not timed
    assert compare_latency(counted, BATCH, 1e-3, patient=True) is not None
    assert len(calls) == 3 + 3 + 5 * 3


def test_the_processor_is_named_with_its_features():
    assert processor() == processor()
    assert processor().endswith(")")


@pytest.mark.parametrize("grad", [False, True])
def test_attention_is_counted_whichever_way_torch_computes_it(grad):
    """By the formulas: projections, products and the two layers behind them, for 5 places of 32 in 2 layers."""
    network = VisionTransformer(16, 8, 2, 4, 32, 48, num_classes=7).eval().requires_grad_(grad)
    patches = 4 * 32 * 3 * 64
    layer = 5 * (3 * 32 * 32 + 32 * 32 + 2 * 32 * 48) + 2 * 5 * 5 * 32
    assert count_macs(network, example_of((3, 16, 16))) == patches + 2 * layer + 32 * 7
    assert isinstance(network, nn.Module)
    assert torch.backends.mha.get_fastpath_enabled()
