import copy

import pytest
import torch
from properties import assert_equal_outputs, assert_explains, assert_input_untouched, example_of
from torch import nn

from espalier.errors import BadInput, Notice
from espalier.folding import fold_blocks
from espalier.folding.similarity import cosine_of_weights
from espalier.measures.macs import count_macs
from espalier.models import build, load, save
from espalier.models.structure import Masked, Shared, record, removed_layers

SHAPE = (1, 8, 8)
IMAGES = torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(1))


def batches():
    return IMAGES.split(32)


@pytest.fixture
def network():
    """Blocks 0.0, 0.1, 0.2, then 1.1, 1.2, then 2.1, 2.2; of the second two one does nothing, and follows the other."""
    torch.manual_seed(0)
    network = build("espalier:resnet", classes=10, shape=SHAPE, arguments={"depth": 20, "width": 4})
    network(IMAGES)
    for block in network.modules():
        if type(block).__name__ == "BasicBlock":
            nn.init.uniform_(block.bn2.weight, 0.5, 1.5)
    nn.init.zeros_(network.stages[1][2].bn2.weight)
    return network.eval()


def distance(network):
    """The validation loss of a candidate: its distance from the network."""
    wanted = network(IMAGES)
    return lambda candidate: (candidate(IMAGES) - wanted).norm().item()


def fold(network, **options):
    options = {"images": batches, "validate": distance(network), "similarity": 0.999} | options
    return fold_blocks(network, torch.zeros(2, *SHAPE), **options)


def test_a_block_without_effect_is_removed_first_and_outputs_are_equal(network, tmp_path):
    with assert_input_untouched(network):
        folded = fold(network)
    assert removed_layers(folded) == ("stages.1.2",)
    assert_equal_outputs(folded, network, IMAGES)
    assert count_macs(folded, example_of(SHAPE)) < count_macs(network, example_of(SHAPE))
    save(folded, tmp_path / "model")
    assert_equal_outputs(load(tmp_path / "model"), folded, IMAGES)


@pytest.mark.parametrize("liked", ["the first", "the second", "the mean"])
def test_validation_chooses_the_block_that_is_kept(network, liked):
    one, other = (copy.deepcopy(network.stages[1][place].conv1.weight) for place in (1, 2))
    left = {"the first": one, "the second": other, "the mean": (one + other) / 2}[liked]

    def validate(candidate):
        stays = next(
            block for block in candidate.stages[1][1:] if not isinstance(block, nn.Identity)
        )
        return (stays.conv1.weight - left).norm().item()

    folded = fold(network, validate=validate)
    gone = "stages.1.1" if liked == "the second" else "stages.1.2"
    assert removed_layers(folded) == (gone,)
    assert validate(folded) == 0


def test_running_statistics_are_averaged_as_well(network):
    blocks = network.stages[1]

    def validate(candidate):
        block = candidate.stages[1][1]
        if isinstance(block, nn.Identity):
            return 9.0
        return float(
            (
                block.bn1.running_var - (blocks[1].bn1.running_var + blocks[2].bn1.running_var) / 2
            ).norm()
        )

    assert validate(fold(network, validate=validate)) == 0


@pytest.mark.parametrize("kind", [Masked, Shared])
def test_a_block_with_masked_or_shared_weights_is_never_averaged(network, kind):
    record(network, kind(("stages.1.1.conv1.weight",)))
    tried = []
    fold(network, validate=lambda candidate: tried.append(candidate) or len(tried))
    assert len(tried) == 2


def test_blocks_that_were_narrowed_differently_are_not_averaged(network):
    block = network.stages[1][1]
    block.conv1.weight = nn.Parameter(block.conv1.weight[:5])
    block.bn1 = nn.BatchNorm2d(5).eval()
    block.conv2.weight = nn.Parameter(block.conv2.weight[:, :5])
    tried = []
    fold(network, validate=lambda candidate: tried.append(candidate) or len(tried))
    assert len(tried) == 2


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
@pytest.mark.parametrize("keep_macs", [0.9, 0.6])
def test_blocks_are_merged_until_the_target_is_reached(network, keep_macs):
    folded = fold(network, similarity=None, keep_macs=keep_macs)
    base = count_macs(network, example_of(SHAPE))
    assert count_macs(folded, example_of(SHAPE)) <= keep_macs * base
    last = count_macs(network.stages[1][1], example_of((8, 4, 4)))  # all blocks cost about the same
    assert count_macs(folded, example_of(SHAPE)) >= keep_macs * base - 1.3 * last


def test_the_fraction_refers_to_the_base(network):
    base = 2 * count_macs(network, example_of(SHAPE))
    with pytest.warns(Notice, match="merged no blocks"):
        assert not removed_layers(fold(network, similarity=None, keep_macs=0.5, base_macs=base))


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
def test_one_block_of_each_shape_is_kept(network):
    assert len(removed_layers(fold(network, similarity=0.0))) == 4
    with pytest.raises(BadInput) as caught:
        fold(network, similarity=None, keep_macs=0.2)
    assert_explains(caught.value, "no two", "found")


def test_a_target_that_needs_dissimilar_blocks_is_out_of_reach(network):
    with pytest.raises(BadInput) as caught:
        fold(network, keep_macs=0.6)
    assert_explains(caught.value, "`similarity = 0.999`", "stages.")


@torch.no_grad()
def test_blocks_of_opposite_weights_are_out_of_reach(network):
    """With no `similarity` of the user the sentence names none."""
    for blocks in network.stages:
        for name, parameter in blocks[-1].named_parameters():
            for other in blocks[-len(blocks) + 1 : -1]:
                parameter.copy_(-other.get_parameter(name))
    with pytest.raises(BadInput) as caught:
        fold(network, images=None, similarity=None, keep_macs=0.2)
    assert_explains(caught.value, "below zero", "stages.")


def test_by_weights_a_scaled_copy_is_the_most_similar_and_no_image_is_read(network):
    blocks = network.stages[2]
    for name, parameter in blocks[1].named_parameters():
        parameter.data = 2 * blocks[2].get_parameter(name)
    folded = fold(network, images=None)
    assert len(removed_layers(folded)) == 1
    assert removed_layers(folded)[0] in ("stages.2.1", "stages.2.2")


def test_cosines_of_weights_are_those_of_two_vectors():
    layers = nn.Sequential(*(nn.Linear(2, 1, bias=False) for _ in range(3)), nn.Linear(3, 1))
    for layer, weight in zip(layers, ([1.0, 2.0], [2.0, 4.0], [2.0, -1.0]), strict=False):
        layer.weight.data = torch.tensor([weight])
    table = cosine_of_weights(layers, ["0", "1", "2", "3"])
    nan = torch.nan
    expected = torch.tensor([[nan, 1, 0, nan], [1, nan, 0, nan], [0, 0, nan, nan], 4 * [nan]])
    torch.testing.assert_close(table, expected.double(), equal_nan=True)


def test_independent_blocks_have_no_similar_weights(network):
    table = cosine_of_weights(network, ["stages.0.0", "stages.0.1", "stages.0.2"])
    assert table.nan_to_num(0).abs().max() < 0.2


def test_by_weights_blocks_that_were_narrowed_differently_are_not_compared(network):
    block = network.stages[1][1]
    block.conv1.weight = nn.Parameter(block.conv1.weight[:5])
    block.bn1 = nn.BatchNorm2d(5).eval()
    block.conv2.weight = nn.Parameter(block.conv2.weight[:, :5])
    folded = fold(network, images=None, similarity=0.0)
    assert {"stages.1.1", "stages.1.2"}.isdisjoint(removed_layers(folded))


def test_far_fewer_macs_than_allowed_are_reported(network):
    with pytest.warns(Notice, match="removed as a whole"):
        fold(network, similarity=None, keep_macs=0.99)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"similarity": None}, ["keep_macs", "similarity", "neither"]),
        ({"keep_macs": 0.0}, ["`keep_macs`", "0.0"]),
        ({"keep_macs": 1.5}, ["`keep_macs`", "1.5"]),
        ({"similarity": -0.1}, ["`similarity`", "-0.1"]),
    ],
)
def test_wrong_arguments_are_refused_by_name(network, options, words):
    with pytest.raises(BadInput) as caught:
        fold(network, **options)
    assert_explains(caught.value, *words)


def test_a_network_without_blocks_is_unchanged():
    network = build("espalier:mlp", classes=10, shape=SHAPE, arguments={"hidden": [16, 16]})
    with pytest.warns(Notice, match="merged no blocks"):
        assert_equal_outputs(fold(network, similarity=0.0), network, IMAGES)
