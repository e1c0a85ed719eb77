"""Saliency: the maps are those of Grad-CAM, lie where the answer comes from, for any network."""

import numpy as np
import pytest
import torch
from properties import assert_explains, assert_input_untouched
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.errors import BadInput, Notice
from espalier.models import build
from espalier.report.understanding.grad_cam import _channels_first, grad_cam, rank_correlation
from espalier.report.understanding.informative_examples import evenly_spaced, informative_examples
from espalier.report.understanding.saliency import SaliencyMaps, saliency_maps

SIZE = 16
LAYOUTS = ("channels first", "channels last", "tokens", "class token")


def images(count: int = 3, channels: int = 1, size: int = SIZE) -> Tensor:
    return torch.rand(count, channels, size, size, generator=torch.Generator().manual_seed(0)) + 0.5


class Corner(nn.Module):
    """A network whose answer to everything depends on the upper left corner of the last map alone."""

    def __init__(self, layout: str = "channels first", positive: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layout = layout
        self.stem = nn.Conv2d(1, 4, 3, 2, 1)
        self.last = nn.Conv2d(4, 6, 1)
        self.out = nn.Identity()
        self.head = nn.Linear(6, 5)
        with torch.no_grad():
            for parameter in self.parameters() if positive else ():
                parameter.abs_()  # every activation is evidence for every class

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.last(F.relu(self.stem(x))))
        if self.layout == "channels last":
            x = self.out(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        elif self.layout != "channels first":
            tokens = x.flatten(2).transpose(1, 2)
            if self.layout == "class token":
                tokens = torch.cat([tokens.mean(1, keepdim=True), tokens], 1)
            x = self.out(tokens)[:, -64:].transpose(1, 2).reshape(len(x), 6, 8, 8)
        return self.head(x[:, :, :4, :2].mean((2, 3)))


class Token(nn.Module):
    """A small transformer that answers from its class token."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(1, 8, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True) for _ in range(2)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.first.expand(len(x), -1, -1), tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(tokens[:, 0])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_is_asked_where_the_answer_comes_from(layout):
    """Places outside the corner have no gradient of their own, but its mean weighs the channels: eq. 1."""
    network = Corner(layout).eval()
    found = grad_cam(network, images(), torch.tensor([0, 1, 4]))
    assert found.maps.shape == (3, 8, 8)
    assert (found.maps > 0).any()
    assert found.layer == ("last" if layout == "channels first" else "out")


def test_the_map_is_the_formula_computed_by_hand():
    network, seen, answers = Corner(positive=False).eval(), images(), torch.tensor([0, 1, 4])
    maps = network.last(F.relu(network.stem(seen))).detach().requires_grad_()
    logits = network.head(F.relu(maps)[:, :, :4, :2].mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits[range(3), answers].sum(), maps)
    weights = gradient.sum((2, 3)) / 64  # eq. 1: the mean over places
    expected = F.relu((weights[:, :, None, None] * maps).sum(1))  # eq. 2
    found = grad_cam(network, seen, answers).maps
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-7)
    assert (found == 0).any()
    assert (found > 0).any()


@pytest.mark.parametrize("layout", LAYOUTS[1:])
def test_the_layout_of_a_map_does_not_matter(layout):
    """Behind the rectifier all of them have the same values, in another order."""
    one, other = Corner("channels last").eval(), Corner(layout).eval()
    answers = torch.tensor([0, 1, 4])
    np.testing.assert_allclose(
        grad_cam(one, images(), answers).maps,
        grad_cam(other, images(), answers).maps,
        rtol=1e-5,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    ("network", "layer"),
    [
        (Corner(), "last"),
        *((Corner(layout, False), "out") for layout in LAYOUTS[1:]),
        (Token(), "blocks.0"),
    ],
)
def test_a_network_answers_the_same_while_it_is_asked(network, layer):
    network.eval()
    answer = network(images(size=SIZE))
    with _channels_first(network, layer, images()) as places:
        torch.testing.assert_close(network(images()), answer)
        assert places is not network.get_submodule(layer)
    assert not network.get_submodule(layer)._forward_hooks


def bright(row: int, column: int) -> Tensor:
    """Images that are dark but for one quarter."""
    found = torch.zeros(2, 1, SIZE, SIZE)
    found[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 1.0
    return found


class Bright(nn.Module):
    """Answers 1 the surer the more bright pixels there are, wherever they are, and 0 if there are none."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 1, bias=False)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([1.0, -1.0]).reshape(2, 1, 1, 1))
            self.head.weight.copy_(torch.tensor([[0.0, 0.0], [3.0, 0.0]]))
            self.head.bias.copy_(torch.tensor([0.1, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(F.relu(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_the_map_lies_where_the_object_is(row, column):
    network = Bright().eval()
    found = grad_cam(network, bright(row, column), torch.tensor([1, 1]))
    assert found.layer == "conv"  # not the pooling behind it
    mask = bright(row, column)[:, 0].bool().numpy()
    assert (found.maps[mask] > 0).all()
    assert (found.maps[~mask] == 0).all()


class Half(nn.Module):
    """Lets the left half of a map through."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.arange(x.shape[3]) < x.shape[3] // 2)


def test_the_map_lies_where_the_answer_depends_on():
    """This network ignores the right half of an image."""
    torch.manual_seed(0)
    layers = (
        nn.Conv2d(1, 4, 1),
        nn.ReLU(),
        Half(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )
    found = grad_cam(nn.Sequential(*layers).eval(), images(8), torch.arange(8) % 5)
    assert (found.maps[..., SIZE // 2 :] == 0).all()
    assert (found.maps[..., : SIZE // 2] > 0).any()


@pytest.mark.parametrize(
    ("factory", "shape", "arguments"),
    [
        ("espalier:resnet", (1, 8, 8), {"depth": 8, "width": 4}),
        ("espalier:wide_resnet", (1, 8, 8), {"depth": 10, "widen": 1}),
        ("espalier:vgg", (3, 32, 32), {"depth": 11, "width": 4}),
        ("espalier:mobilenet", (3, 32, 32), {"multiplier": 0.25}),
        ("espalier:lenet5", (1, 28, 28), {}),
    ],
)
def test_every_convolutional_network_of_ours_has_a_map_of_four_by_four_at_least(
    factory, shape, arguments
):
    torch.manual_seed(0)
    network = build(factory, classes=10, shape=shape, arguments=arguments)
    seen = torch.rand(2, *shape)
    with assert_input_untouched(network.eval()):
        found = grad_cam(network, seen, torch.tensor([3, 3]))
    assert min(found.maps.shape[1:]) >= 4
    assert not [module for module in network.modules() if module._forward_hooks]


@pytest.mark.slow
@pytest.mark.parametrize(
    "factory", ["resnet18", "densenet121", "vit_b_16", "swin_t", "convnext_tiny", "squeezenet1_1"]
)
def test_families_of_torchvision_have_a_map(factory):
    torch.manual_seed(0)
    network = build(f"torchvision:{factory}", classes=10, shape=(3, 224, 224)).eval()
    for parameter in network.parameters():  # some heads begin as zeros
        if parameter.ndim > 1 and not parameter.any():
            nn.init.normal_(parameter)
    found = grad_cam(network, torch.rand(2, 3, 224, 224), torch.tensor([3, 3]))
    assert min(found.maps.shape[1:]) >= 7


def test_behind_the_last_attention_only_the_class_token_counts_so_an_earlier_layer_is_asked():
    network = Token().eval()
    found = grad_cam(network, images(), torch.tensor([0, 1, 2]))
    assert found.layer.startswith("blocks.")
    assert found.maps.shape == (3, 4, 4)
    assert np.ptp(found.maps) > 0


def test_a_network_without_positions_has_no_map():
    network = build("espalier:mlp", classes=10, shape=(1, 8, 8)).eval()
    assert grad_cam(network, images(size=8), torch.tensor([0, 1, 2])) is None


def test_fine_maps_are_averaged_to_32_positions():
    network = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)
    ).eval()
    assert grad_cam(network, images(size=96), torch.tensor([0, 1, 2])).maps.shape == (3, 32, 32)


def test_agreement_is_of_ranks_on_the_finer_grid():
    rising = np.arange(16, dtype=np.float32).reshape(4, 4)
    assert rank_correlation(rising, rising**3) == pytest.approx(1)
    assert rank_correlation(rising, 20 - rising) == pytest.approx(-1)
    assert rank_correlation(rising, rising.reshape(2, 2, 2, 2).mean((1, 3))) > 0.9
    assert np.isnan(rank_correlation(rising, np.zeros((4, 4), np.float32)))


def on(networks, images):
    return [(name, network, images) for name, network in networks.items()]


def test_the_maps_of_several_networks(tmp_path):
    answers = {name: np.array([1, 1]) for name in ("teacher", "same", "mlp")} | {
        "nan": np.array([-1, 1])
    }
    flat = build("espalier:mlp", classes=10, shape=(1, SIZE, SIZE)).eval()
    networks = {"teacher": Bright(), "same": Bright(), "nan": Bright(), "mlp": flat}
    both = torch.cat([bright(0, 0)[:1], bright(1, 1)[:1]])
    found = saliency_maps(on(networks, both), answers, np.array([1, 0]), [7, 9])
    assert found.compared == 2
    assert list(found.models) == list(networks)
    assert (found.models["teacher"].agreement, found.models["same"].agreement) == (
        None,
        pytest.approx(1),
    )
    assert (
        found.models["nan"].maps[0] is None
    )  # no answer, so nothing that it could be explained by
    assert found.models["nan"].agreement == pytest.approx(1)  # of the other image
    assert (found.models["mlp"].layer, found.models["mlp"].maps, found.models["mlp"].agreement) == (
        "",
        [None] * 2,
        None,
    )
    assert np.array(found.models["teacher"].maps).max((1, 2)).tolist() == [255, 255]
    more = {name: np.append(own, 1) for name, own in answers.items()}
    others = saliency_maps(
        on(networks, torch.cat([both, bright(0, 1)[:1]])), more, np.array([1, 0]), [7, 9]
    )
    assert others.compared == 1  # the image that is not shown
    assert others.models["nan"].agreement == pytest.approx(1)
    assert others.models["nan"].maps == found.models["nan"].maps
    found.write(tmp_path / "saliency.json")
    assert SaliencyMaps.read(tmp_path / "saliency.json") == found
    assert SaliencyMaps.read(tmp_path / "none.json") is None
    (tmp_path / "saliency.json").write_text(
        '{"examples": [1], "labels": [], "compared": 1, "models": {"a": 3}}'
    )
    with pytest.raises(BadInput) as refusal:
        SaliencyMaps.read(tmp_path / "saliency.json")
    assert_explains(refusal.value, "saliency.json", "models.a")


def test_examples_that_models_lost_come_first_one_model_after_another():
    labels = np.zeros(8, int)
    predicted = {
        "teacher": np.array([0, 0, 0, 0, 0, 2, 0, 0]),
        "one": np.array([1, 1, 1, 0, 0, 0, 0, 0]),  # has lost 0, 1 and 2, and gained 5
        "two": np.array(
            [1, 0, 0, 1, 0, 3, 0, 0]
        ),  # has lost 0 and 3, and is wrong in another way at 5
    }
    scores = {name: (own == labels).astype(float) for name, own in predicted.items()}
    assert informative_examples(scores, predicted, "teacher", 8) == [0, 1, 3, 2, 5, 4, 6, 7]
    assert informative_examples(scores, predicted, "teacher", 3) == [0, 1, 3]
    assert informative_examples(scores, {"teacher": labels}, "teacher", 2) == [0, 1]


def test_examples_are_spread_from_the_first_to_the_last():
    assert evenly_spaced(10, 4) == [0, 3, 6, 9]
    assert evenly_spaced(3, 8) == [0, 1, 2]
    assert evenly_spaced(10, 0) == evenly_spaced(0, 5) == []


class Stubborn(Bright):
    """A network that only infers."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            raise RuntimeError("this network has no gradients")
        return super().forward(x)


class Frozen(Bright):
    """A network whose last layers alone can be differentiated."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            seen = self.conv(x)
        return self.head(self.pool(seen.relu()).mean((2, 3)))


def test_a_network_that_cannot_be_differentiated_has_no_map_and_causes_a_warning():
    networks = {"teacher": Bright(), "stubborn": Stubborn(), "frozen": Frozen()}
    answers = dict.fromkeys(networks, np.array([1, 1]))
    with pytest.warns(Notice, match="Expected a saliency map of stubborn; found: this network"):
        found = saliency_maps(on(networks, bright(0, 0)), answers, np.array([1, 1]), [0, 1])
    assert [one.layer for one in found.models.values()] == ["conv", "", ""]
    assert found.models["stubborn"].maps == found.models["frozen"].maps == [None, None]
