"""Weights of trained networks from elsewhere: every way in which people keep them, and every difference named."""

import os
import pickle
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torchvision
from properties import assert_equal_outputs, assert_explains
from torch import nn

from espalier.errors import BadInput
from espalier.models import build
from espalier.models.trained import (
    Weights,
    fit_weights,
    published_preprocessing,
    published_weights,
    read_weights,
)

SHAPE = (1, 8, 8)
MARK = Path(tempfile.gettempdir()) / "espalier-code-was-run"
IMAGES = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(1))


def network(classes: int = 10, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    arguments = {"depth": 8, "width": 4}
    return build("espalier:resnet", classes=classes, shape=SHAPE, arguments=arguments).eval()


@pytest.fixture
def trained():
    return network(seed=1)


def wrapped(state, prefix):
    return {prefix + name: value for name, value in state.items()}


CHECKPOINTS = {
    "a state": lambda state: state,
    "of DataParallel": lambda state: wrapped(state, "module."),
    "of a training script": lambda state: {"epoch": 3, "state_dict": wrapped(state, "module.")},
    "beside the weights of its classes": lambda state: {
        "state_dict": state,
        "class_weights": torch.ones(10),
    },
    "of torchvision's references": lambda state: {"model": state, "optimizer": {"state": {}}},
    "of a compiled network": lambda state: {"model": wrapped(state, "_orig_mod.")},
    "of Lightning": lambda state: {"state_dict": wrapped(state, "model."), "global_step": 7},
    "with a running average": lambda state: {
        "state_dict": {name: value + 1 for name, value in state.items()},
        "state_dict_ema": state,
    },
    "of AveragedModel": lambda state: wrapped(state, "module.") | {"n_averaged": torch.tensor(5)},
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_a_checkpoint_as_people_have_them_gives_the_network_that_was_saved(kind, trained, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(CHECKPOINTS[kind](trained.state_dict()), path)
    weights, loaded = read_weights(path), network()
    fit_weights(loaded, weights)
    assert_equal_outputs(loaded, trained, IMAGES)
    said = " ".join(weights.notes)
    assert ("prefix" in said) == (
        "module." in str(torch.load(path)) or "_orig_mod" in said or "model." in said
    )


def test_safetensors_give_the_network_that_was_saved(trained, tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(trained.state_dict(), path)
    loaded = network()
    fit_weights(loaded, read_weights(path))
    assert_equal_outputs(loaded, trained, IMAGES)


def test_a_key_says_which_of_several_weights_are_meant(trained, tmp_path):
    path = tmp_path / "weights.pth"
    other = network(seed=2)
    torch.save({"model": other.state_dict(), "best": {"net": trained.state_dict()}}, path)
    loaded = network()
    fit_weights(loaded, read_weights(path, "best.net"))
    assert_equal_outputs(loaded, trained, IMAGES)
    with pytest.raises(BadInput) as refusal:
        read_weights(path, "best.ema")
    assert_explains(refusal.value, str(path), "best.ema", "net")


class Hostile:
    """Runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch {MARK}",)


def test_pickle_that_needs_code_is_refused_unrun_and_the_way_out_is_said(trained, tmp_path):
    whole, hostile = tmp_path / "whole.pt", tmp_path / "hostile.pt"
    torch.save(trained, whole)
    hostile.write_bytes(pickle.dumps(Hostile()))
    for path in (whole, hostile):
        with pytest.raises(BadInput) as refusal:
            read_weights(path)
        assert_explains(refusal.value, str(path), "safetensors.torch.save_file")
    assert not MARK.exists()


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04" + bytes(100)])
def test_a_damaged_file_is_refused_by_name(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        read_weights(tmp_path / name)
    assert_explains(refusal.value, str(tmp_path / name))


def test_a_file_without_weights_is_refused_with_what_it_has(tmp_path):
    path = tmp_path / "history.pt"
    torch.save({"epoch": 3, "loss": torch.tensor(1.0)}, path)
    with pytest.raises(BadInput) as refusal:
        read_weights(path)
    assert_explains(refusal.value, str(path), "epoch", "loss", "state_dict")


def test_every_kind_of_difference_is_named_with_shapes(trained):
    state = dict(trained.state_dict())
    first = next(name for name in state if state[name].ndim == 4)
    state["extra.weight"] = torch.zeros(2, 3)
    state[first] = torch.zeros(9, 9, 1, 1)
    last = list(trained.state_dict())[-1]
    shape = "x".join(map(str, state.pop(last).shape))
    fresh = network()
    before = {name: value.clone() for name, value in fresh.state_dict().items()}
    with pytest.raises(BadInput) as refusal:
        fit_weights(fresh, Weights(state))
    assert_explains(
        refusal.value,
        f"1 missing: {last} {shape}",
        "1 unexpected: extra.weight 2x3",
        f"{first} 9x9x1x1",
    )
    assert all(torch.equal(value, before[name]) for name, value in fresh.state_dict().items())


def test_a_head_for_other_classes_is_replaced_on_request_only(trained):
    weights = Weights(dict(trained.state_dict()))
    with pytest.raises(BadInput) as refusal:
        fit_weights(network(classes=3), weights)
    assert_explains(refusal.value, "head: new", "10x", "instead of 3x")
    smaller = network(classes=3)
    head = [value.clone() for value in list(smaller.state_dict().values())[-2:]]
    notes = fit_weights(smaller, weights, new_head=True)
    assert "head" in notes[0]
    assert all(
        torch.equal(one, other)
        for one, other in zip(list(smaller.state_dict().values())[-2:], head, strict=True)
    )
    body = list(smaller.state_dict())[:-2]
    assert all(torch.equal(smaller.state_dict()[name], trained.state_dict()[name]) for name in body)


def test_a_new_head_excuses_no_other_difference(trained):
    state = dict(trained.state_dict())
    first = next(iter(state))
    state[first] = torch.zeros(9, 9, 1, 1)
    with pytest.raises(BadInput) as refusal:
        fit_weights(network(classes=3), Weights(state), new_head=True)
    assert_explains(refusal.value, first)


def test_weights_older_than_the_counters_of_batch_norms_fit(trained):
    state = {
        name: value for name, value in trained.state_dict().items() if "num_batches" not in name
    }
    loaded = network()
    fit_weights(loaded, Weights(state))
    assert_equal_outputs(loaded, trained, IMAGES)


def test_published_weights_come_from_the_cache_and_bring_their_preprocessing(tmp_path, monkeypatch):
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    url = torchvision.models.SqueezeNet1_1_Weights.DEFAULT.url
    path = tmp_path / "hub" / "checkpoints" / url.rpartition("/")[2]
    path.parent.mkdir(parents=True)
    published = torchvision.models.squeezenet1_1(weights=None)
    torch.save(published.state_dict(), path)
    weights = published_weights("torchvision:squeezenet1_1", "DEFAULT")
    assert all(
        torch.equal(value, weights.tensors[name]) for name, value in published.state_dict().items()
    )
    settings = published_preprocessing("torchvision:squeezenet1_1", "DEFAULT")
    assert (settings["resize"], settings["crop"]) == (256, 224)
    assert settings["mean"] == [0.485, 0.456, 0.406]


def test_weights_that_cannot_be_had_are_refused_with_the_place_to_put_them(tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(BadInput) as refusal:
        published_weights("torchvision:resnet18", "DEFAULT")
    assert_explains(refusal.value, str(tmp_path), "resnet18-f37072fd.pth", "https://")
    with pytest.raises(BadInput) as refusal:
        published_weights("torchvision:resnet18", "IMAGENET")
    assert_explains(refusal.value, "IMAGENET1K_V1", "DEFAULT")


@pytest.mark.parametrize(
    ("name", "heads"), [("googlenet", "aux1, aux2"), ("inception_v3", "AuxLogits")]
)
def test_heads_that_only_training_uses_are_left_out(name, heads):
    """torchvision's GoogLeNet and Inception are trained with them, and their weights have them."""
    trained = getattr(torchvision.models, name)(num_classes=5, init_weights=False, aux_logits=True)
    network = build(f"torchvision:{name}", classes=5, shape=(3, 96, 96))
    notes = fit_weights(network, Weights(dict(trained.state_dict())))
    assert notes == (f"Heads that only training uses are left out: {heads}.",)
    assert torch.equal(network.fc.weight, trained.fc.weight)


def test_but_a_network_that_has_them_gets_them():
    trained = torchvision.models.googlenet(num_classes=5, init_weights=False, aux_logits=True)
    with pytest.raises(BadInput, match=r"found 1 unexpected: other\.weight 1"):
        fit_weights(trained, Weights({**trained.state_dict(), "other.weight": torch.zeros(1)}))
    fit_weights(trained, Weights(dict(trained.state_dict())))
