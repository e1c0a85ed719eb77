"""timm's networks, where timm is installed: built, cut, saved, and their published weights."""

import pytest
import torch
from properties import assert_equal_outputs, assert_explains

from espalier.errors import BadInput
from espalier.measures.macs import count_macs
from espalier.models import build, load, save
from espalier.models.trained import published_preprocessing, published_weights
from espalier.pruning import prune

timm = pytest.importorskip("timm")


@pytest.mark.filterwarnings("ignore::espalier.errors.Notice")
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("mobilenetv3_small_050", 64),
        ("convnextv2_atto", 64),
        pytest.param("resnet18", 64, marks=pytest.mark.slow),
        pytest.param("regnety_002", 64, marks=pytest.mark.slow),
    ],
)
def test_a_network_is_cut_to_half_and_comes_back_from_its_folder(name, side, tmp_path):
    torch.manual_seed(0)
    images = torch.randn(2, 3, side, side)
    network = build(f"timm:{name}", classes=5, shape=(3, side, side)).eval()
    smaller = prune(network, images, keep_macs=0.5, align=8)
    assert count_macs(smaller, images) <= 0.5 * count_macs(network, images)
    save(smaller, tmp_path)
    assert_equal_outputs(load(tmp_path), smaller, images)


def test_gray_images_and_options_reach_the_factory():
    options = {"options": {"drop_rate": 0.3}}
    network = build("timm:resnet18", classes=5, shape=(1, 64, 64), arguments=options)
    assert network.conv1.in_channels == 1
    assert network.drop_rate == 0.3


def test_work_is_counted_where_a_layer_is_called_with_a_parameter():
    network = build("timm:cait_xxs24_224", classes=5, shape=(3, 224, 224))
    assert count_macs(network, torch.zeros(1, 3, 224, 224)) > 1e9
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_an_unknown_network_is_answered_by_similar_ones():
    with pytest.raises(BadInput) as refusal:
        build("timm:resnet18.nothing_x", classes=5, shape=(3, 64, 64))
    assert_explains(refusal.value, "resnet18")


@pytest.mark.parametrize(("name", "words"), [("resnet1x", ["resnet18"]), ("zzzz", [])])
def test_a_name_that_is_part_of_none_is_answered_by_the_nearest_ones(name, words):
    with pytest.raises(BadInput) as refusal:
        build(f"timm:{name}", classes=5, shape=(3, 64, 64))
    assert_explains(refusal.value, *words, f"found {name!r}", "`timm.list_models()`")


def test_an_option_among_the_arguments_is_answered_by_its_place():
    with pytest.raises(BadInput) as refusal:
        build("timm:test_vit", classes=5, shape=(3, 32, 32), arguments={"img_size": 32})
    assert_explains(refusal.value, "'img_size'", "`arguments: {options: {...}}`")
    given = {"options": {"img_size": 32}}
    build("timm:test_vit", classes=5, shape=(3, 32, 32), arguments=given)


def test_published_weights_bring_their_preprocessing_and_say_when_they_cannot_be_had(
    tmp_path, monkeypatch
):
    settings = published_preprocessing("timm:resnet18", "DEFAULT")
    assert settings["crop"] == 224
    assert settings["mean"] == pytest.approx([0.485, 0.456, 0.406])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BadInput) as refusal:
        published_weights("timm:mobilenetv3_small_050", "DEFAULT")
    assert_explains(refusal.value, "timm:mobilenetv3_small_050", "`weights`")
