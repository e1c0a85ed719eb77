"""Whole residual blocks: which can go, in which order, and that what is left is counted, saved and cut further."""

import numpy as np
import pytest
import torch
from properties import assert_input_untouched, example_of
from torch import nn
from torch.nn import functional as F

from espalier.errors import BadInput, Notice
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build, load, save
from espalier.models.structure import removed_layers
from espalier.pruning import prune
from espalier.pruning.blocks import PrunableBlocks
from espalier.pruning.finding import find_blocks
from espalier.pruning.size import Size
from espalier.pruning.spec import PruneSpec
from espalier.pruning.target import Target

SHAPE = (3, 8, 8)
SEVERAL = pytest.mark.filterwarnings("ignore::espalier.errors.Notice")


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def resnet(depth=26):
    """Three stages; the first blocks of the last two change the shape."""
    return build(
        "espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": depth, "width": 8}
    ).eval()


def removed(network):
    return removed_layers(network)


@pytest.mark.parametrize("seed", range(3))
def test_the_cost_of_what_is_kept_is_what_is_counted(seed):
    network = resnet()
    blocks = find_blocks(network, images())
    assert blocks.count == 10
    assert np.bincount(blocks.layer).tolist() == [4, 3, 3]
    whole = Size.of(network, images())
    spec = PruneSpec(pattern="blocks", targets=(Target("keep_macs", 0.5),))
    prunable = PrunableBlocks(network, images(), blocks, spec, None)
    kept = np.random.default_rng(seed).random(10) < 0.5
    shorter = prunable.cut(kept)
    assert prunable.cost("keep_macs", whole.macs)(kept) == count_macs(shorter, example_of(SHAPE))
    assert prunable.cost("keep_parameters", whole.parameters)(kept) == count_parameters(shorter)
    assert removed(shorter) == tuple(np.array(blocks.names)[~kept])
    assert not removed(network)


def test_scores_see_a_block_as_all_its_weights():
    network = resnet(14)
    blocks = find_blocks(network, images())
    ones = {name: torch.ones_like(parameter) for name, parameter in network.named_parameters()}
    sizes = [count_parameters(network.get_submodule(name)) for name in blocks.names]
    assert (
        blocks.sum_over_producers(ones).tolist()
        == blocks.sum_over_consumers(ones).tolist()
        == sizes
    )
    assert blocks.producers("stages.0.1.conv2.weight", (8, 8, 3, 3)).shape == (1, 1, 1, 1)
    assert blocks.producers("head.weight", (10, 32)) is None


@SEVERAL
@pytest.mark.parametrize(
    ("score", "budget"),
    [("magnitude", "global"), ("taylor", "global"), ("magnitude", "sensitivity")],
)
def test_dead_blocks_go_first_and_the_outputs_stay(score, budget):
    """The blocks that add nothing.

    A norm of weights sees it if all of them are zero, a loss if the last norm is.
    """
    network = resnet(20)
    with torch.no_grad():
        for block in (network.stages[0][1], network.stages[2][2]):
            dead = (
                block.parameters()
                if (score, budget) == ("magnitude", "global")
                else block.bn2.parameters()
            )
            for parameter in dead:
                parameter.zero_()
    batches = torch.randn(2, 8, *SHAPE, generator=torch.Generator().manual_seed(2))
    targets = [network(batch).detach() + 0.1 * torch.randn(8, 10) for batch in batches]

    def losses(other):
        yield from (
            F.mse_loss(other(batch), target) for batch, target in zip(batches, targets, strict=True)
        )

    shorter = prune(
        network,
        images(),
        keep_macs=0.8,
        pattern="blocks",
        score=score,
        budget=budget,
        losses=losses,
    )
    assert removed(shorter) == ("stages.0.1", "stages.2.2")
    assert torch.allclose(shorter(images()), network(images()), atol=1e-6)


@SEVERAL
@pytest.mark.parametrize("keep", [0.75, 0.5, 0.35])
def test_the_target_is_met_from_below_by_what_comes_nearest(keep):
    """Blocks of this network cost the same but for its first and changing ones, so the next one would be too many."""
    network = resnet()
    with assert_input_untouched(network):
        shorter = prune(network, images(), keep_macs=keep, pattern="blocks")
    limit, block = keep * count_macs(network, example_of(SHAPE)), 2 * 8 * 8 * 9 * 64
    assert limit - block < count_macs(shorter, example_of(SHAPE)) <= limit


def test_the_distance_below_the_target_is_reported():
    with pytest.warns(
        Notice,
        match=r"of the allowed [\d,]+ multiply-accumulates: the nearest blocks are [\d.]+ % below\.",
    ):
        prune(resnet(14), images(), keep_macs=0.8, pattern="blocks")


@SEVERAL
def test_uniform_takes_the_same_fraction_of_every_stage():
    network = resnet(32)
    shorter = prune(network, images(), keep_macs=0.5, pattern="blocks", budget="uniform")
    left = [sum(not isinstance(block, nn.Identity) for block in stage) for stage in shorter.stages]
    gone = [5 - left[0], 5 - left[1], 5 - left[2]]
    assert max(gone) - min(gone) <= 1
    assert sum(gone) > 3


@SEVERAL
def test_blocks_and_channels_go_after_each_other_and_all_is_saved(tmp_path):
    network = resnet()
    base = Size.of(network, images())
    steps = [
        {"pattern": "blocks", "keep_macs": 0.8},
        {"keep_macs": 0.6, "align": 1},
        {"pattern": "blocks", "keep_macs": 0.45},
        {"keep_macs": 0.3, "align": 1},
    ]
    for number, step in enumerate(steps):
        network = prune(network, images(), base=base, **step)
        assert (
            0.8 * step["keep_macs"]
            < count_macs(network, example_of(SHAPE)) / base.macs
            <= step["keep_macs"]
        )
        save(network, tmp_path / str(number))
        again = load(tmp_path / str(number))
        assert torch.equal(again(images()), network(images()))
        assert removed(again) == removed(network)
        network = again
    assert len(removed(network)) >= 3


@SEVERAL
def test_blocks_under_keep_stay():
    """A block, a layer in one, or the stage around some."""
    keep = ("stages.0.1", "stages.1.2.conv1", "stages.2")
    network = resnet()
    names = find_blocks(network, images(), keep).names
    assert set(names) == {"stages.0.0", "stages.0.2", "stages.0.3", "stages.1.1", "stages.1.3"}
    shorter = prune(network, images(), keep_macs=0.75, pattern="blocks", keep=keep)
    assert set(removed(shorter)) <= set(names)


@pytest.mark.parametrize(
    ("factory", "keywords", "message"),
    [
        (
            "vgg",
            {"keep_macs": 0.5},
            "Expected a network with residual blocks of one shape; found none.",
        ),
        (
            "resnet",
            {"keep_macs": 0.05},
            r"found [\d,]+, where all of the 10 removable residual blocks are removed",
        ),
        ("resnet", {"keep_macs": 0.5, "score": "norm_scale"}, "norm_scale"),
        ("resnet", {"below": 0.5, "score": "threshold"}, "threshold"),
    ],
)
def test_impossible_requests_are_refused(factory, keywords, message):
    arguments = {"vgg": {"depth": 11, "width": 8}, "resnet": {"depth": 26, "width": 8}}[factory]
    shape = (3, 32, 32) if factory == "vgg" else SHAPE
    network = build(f"espalier:{factory}", classes=10, shape=shape, arguments=arguments)
    with pytest.raises(BadInput, match=message):
        prune(network, torch.zeros(2, *shape), pattern="blocks", **keywords)


FAMILIES = {
    "resnet18": 64,
    "convnext_tiny": 64,
    "mobilenet_v2": 64,
    "efficientnet_b0": 64,
    "vit_b_32": 224,
    "swin_t": 64,
}


@pytest.mark.slow
@SEVERAL
@pytest.mark.parametrize("name", FAMILIES)
def test_torchvisions_families_lose_blocks(name):
    shape = (3, FAMILIES[name], FAMILIES[name])
    network = build(f"torchvision:{name}", classes=10, shape=shape).eval()
    shorter = prune(network, torch.randn(2, *shape), keep_macs=0.6, pattern="blocks")
    assert (
        0.45
        < count_macs(shorter, example_of(shape)) / count_macs(network, example_of(shape))
        <= 0.6
    )
    assert shorter(torch.randn(3, *shape)).shape == (3, 10)
