"""torchvision's families, pruned: they run, learn, are saved and exported, and the cut is right."""

import warnings

import numpy as np
import pytest
import torch
from properties import example_of
from tiny_networks import Case, TracedNetwork, assert_equal, silenced
from torch import nn
from torchvision.models import MaxVit, SwinTransformer, VisionTransformer
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from espalier.errors import Notice
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.measures.macs import count_macs
from espalier.models import build, load, save
from espalier.models.attention import make_attention_prunable
from espalier.pruning import prune
from espalier.pruning.budgets import Problem, global_budget
from espalier.pruning.scores.magnitude import magnitude
from espalier.pruning.surgery import cut

SIDES = {
    "alexnet": 224,  # it pools to six places, which the runtime does from no fewer
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 80,
    "maxvit_t": 224,  # its windows of seven divide no smaller image
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_0": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "vgg11": 224,
    "vgg11_bn": 224,
    "vit_b_16": 64,
    "wide_resnet50_2": 64,
}


def swin(**more: object) -> nn.Module:
    return SwinTransformer([2, 2], 12, [2, 2], [3, 4], [3, 3], num_classes=5, **more)


def lively(network: nn.Module) -> nn.Module:
    """With our attention, and weights where there are none at the start: heads of transformers, scales of layers."""
    make_attention_prunable(network)
    for parameter in network.parameters():
        if parameter.abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.3)
    return network


def built(name: str, side: int) -> Case:
    return Case(
        lambda: lively(build(f"torchvision:{name}", classes=10, shape=(3, side, side))),
        0,
        ((3, side, side),),
    )


TINY = {
    "swin": Case(
        lambda: lively(swin()), 12 + 2 * 48 + 24 + 2 * 96 + 2 * 7, ((3, 14, 14),), heads=14
    ),
    "swin_v2": Case(
        lambda: lively(swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2)),
        12 + 2 * 48 + 24 + 2 * 96 + 2 * 7 + 4 * 512,
        ((3, 14, 14),),
        heads=14,
    ),
    "vit": Case(
        lambda: lively(VisionTransformer(16, 4, 2, 3, 12, 20, num_classes=5)),
        12 + 2 * 20 + 6,
        ((3, 16, 16),),
        heads=6,
    ),
    "maxvit": Case(
        lambda: lively(MaxVit((16, 16), 8, 2, [8, 12], [1, 1], 4, 0.0, num_classes=5)),
        8 + 8 + (8 + 32 + 2 + 2 * 32) + (12 + 48 + 3 + 2 * 48) + 12 + 2 * 2 + 2 * 3,
        ((3, 16, 16),),
        heads=10,
    ),
}
SMALL = [*TINY, "shufflenet_v2_x0_5", "squeezenet1_0"]
LARGE = [pytest.param(name, marks=pytest.mark.slow) for name in SIDES if name not in SMALL]


@pytest.fixture(scope="module", params=[*SMALL, *LARGE])
def tree(request) -> TracedNetwork:
    """A network with random norms, in double precision, and its units."""
    torch.manual_seed(0)
    side = 32 if request.param in SMALL else 224 if request.param == "maxvit_t" else 80
    return TracedNetwork.of(TINY.get(request.param) or built(request.param, side))


@pytest.mark.parametrize(("tree", "case"), TINY.items(), indirect=["tree"])
def test_all_of_a_transformer_can_go_its_stream_its_heads_and_what_is_between(tree, case):
    assert (tree.units.count, int(tree.units.heads.sum())) == (case.units, case.heads)


def test_dead_channels_and_heads_of_a_family_go_without_a_trace(tree):
    dead = tree.without(rows=True)
    assert (~tree.kept).sum() > 0.1 * tree.units.count
    before = tree.outputs(dead)
    assert not torch.allclose(before, tree.outputs(tree.network))
    assert_equal(tree.outputs(cut(dead, tree.units, tree.kept)), before)


def test_a_cut_of_a_family_is_as_if_nothing_read_the_channels(tree):
    unread = tree.outputs(tree.without(rows=False))
    assert not torch.allclose(unread, tree.outputs(tree.network))
    assert_equal(tree.outputs(cut(tree.network, tree.units, tree.kept)), unread)


def test_dead_groups_in_some_layers_of_a_family_go_first(tree):
    """Also under a layer norm.

    Until half of its work is gone; the very last block is what comes nearest.
    """
    random = np.random.default_rng(1)
    chosen = random.random(tree.units.layer.max() + 1) < 0.4
    alive = ~chosen[tree.units.layer] | (random.random(tree.units.count) < 0.5)
    alive[np.unique(tree.units.layer, return_index=True)[1]] = True
    dead = silenced(tree.network, tree.units, alive, rows=True)
    scores = magnitude(dead, tree.units)
    assert not scores[~alive].any()
    assert (scores[alive] > 0).all()
    limit = (tree.cost(np.ones(tree.units.count, bool)) + tree.cost(alive)) / 2
    kept = global_budget(Problem.of(tree.units, scores, tree.cost, limit))
    assert (~kept).sum() > 1
    assert np.sum(~kept & alive) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", SIDES)
def test_a_family_is_pruned_trained_saved_and_exported(name, tmp_path):
    shape = (3, SIDES[name], SIDES[name])
    network = build(f"torchvision:{name}", classes=10, shape=shape).eval()
    images = torch.randn(2, *shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        smaller = prune(network, images, keep_macs=0.5, align=8)
    assert (
        0.48
        <= count_macs(smaller, example_of(shape)) / count_macs(network, example_of(shape))
        <= 0.5
    )
    del network
    loss = smaller.train()(images).square().mean()
    loss.backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())
    save(smaller, tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "model")(images), smaller.eval()(images))
    pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    assert (
        export(
            smaller, tmp_path / "model.onnx", pixels, Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
        )
        <= 1e-4
    )
