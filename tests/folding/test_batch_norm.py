import pytest
import torch
from cases import NETWORKS
from properties import assert_equal_outputs, assert_explains, assert_input_untouched
from torch import nn
from torch.nn import functional as F

from espalier.errors import BadInput
from espalier.folding import fold_batch_norms
from espalier.folding.batch_norm import Norm
from espalier.models import build, load, save
from espalier.models.structure import Masked, Shared, masked_weights, record, removed_layers


def lived(network, *shape):
    """A network whose norms have other statistics, scales and shifts than at first."""
    torch.manual_seed(5)
    for module in network.modules():
        if isinstance(module, Norm) and module.affine:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    network.train()
    for _ in range(3):
        network(torch.randn(8, *shape) * 2 + 1)
    return network.eval()


def norms(network):
    return [name for name, module in network.named_modules() if isinstance(module, Norm)]


@torch.no_grad()
def assert_close_outputs(one, other, images, tolerance=1e-5):
    first, second = one(images), other(images)
    assert float((first - second).abs().max() / first.abs().max()) <= tolerance


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_outputs_are_equal_after_folding_and_after_loading(case, tmp_path):
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    lived(network, *case.shape)
    with assert_input_untouched(network):
        folded = fold_batch_norms(network, torch.zeros(1, *case.shape))
    assert_close_outputs(network, folded, torch.randn(4, *case.shape))
    gone = {
        name for name, module in folded.named_modules() if isinstance(module, nn.Identity)
    } & set(norms(network))
    assert gone == set(removed_layers(folded)) == set(norms(network)) - set(norms(folded))
    save(folded, tmp_path / "model")
    assert_equal_outputs(load(tmp_path / "model"), folded, torch.randn(4, *case.shape))


LAYERS = {
    "convolution": ([nn.Conv2d(3, 8, 3)], nn.BatchNorm2d(8), (3, 6, 6)),
    "with a bias": ([nn.Conv2d(3, 8, 3, bias=True)], nn.BatchNorm2d(8), (3, 6, 6)),
    "without a bias": ([nn.Conv2d(3, 8, 3, bias=False)], nn.BatchNorm2d(8), (3, 6, 6)),
    "grouped": ([nn.Conv2d(4, 8, 3, groups=2)], nn.BatchNorm2d(8), (4, 6, 6)),
    "depthwise": ([nn.Conv2d(4, 8, 3, groups=4, bias=False)], nn.BatchNorm2d(8), (4, 6, 6)),
    "transposed": ([nn.ConvTranspose2d(4, 6, 3, 2)], nn.BatchNorm2d(6), (4, 6, 6)),
    "transposed and grouped": (
        [nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False)],
        nn.BatchNorm2d(6),
        (4, 6, 6),
    ),
    "padded by reflection": (
        [nn.Conv2d(3, 8, 3, 1, 1, padding_mode="reflect")],
        nn.BatchNorm2d(8),
        (3, 6, 6),
    ),
    "one dimension": ([nn.Conv1d(3, 8, 3)], nn.BatchNorm1d(8), (3, 6)),
    "three dimensions": ([nn.Conv3d(2, 4, 2, bias=False)], nn.BatchNorm3d(4), (2, 3, 3, 3)),
    "linear": ([nn.Flatten(), nn.Linear(12, 5)], nn.BatchNorm1d(5), (3, 4)),
    "without scale": ([nn.Conv2d(3, 8, 3)], nn.BatchNorm2d(8, affine=False, eps=0.1), (3, 6, 6)),
}


@pytest.mark.parametrize(("layers", "norm", "shape"), LAYERS.values(), ids=LAYERS)
def test_a_norm_is_folded_into_every_kind_of_layer(layers, norm, shape):
    network = lived(nn.Sequential(*layers, norm, nn.ReLU()), *shape)
    folded = fold_batch_norms(network, torch.zeros(2, *shape))
    assert not norms(folded)
    assert_close_outputs(network, folded, torch.randn(5, *shape), 1e-6)


class ReadElsewhere(nn.Module):
    """Another operation reads the convolution's output."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        y = self.conv(x)
        return self.bn(y) + y


class Twice(nn.Module):
    """One convolution before two norms."""

    def __init__(self):
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.two(self.conv(self.one(self.conv(x))))


class Standardised(nn.Conv2d):
    """A weight that is computed (Qiao et al. 2019): to scale what it is computed from changes nothing."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True), self.bias)


STAY = {
    "something else looks": (ReadElsewhere(), (3, 4, 4)),
    "the convolution works twice": (Twice(), (3, 4, 4)),
    "the weight is computed": (nn.Sequential(Standardised(3, 4, 2), nn.BatchNorm2d(4)), (3, 4, 4)),
    "no statistics are kept": (
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        (3, 4, 4),
    ),
    "the channels are another dimension": (
        nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)),
        (4, 6),
    ),
    "a rectifier is between": (
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)),
        (3, 4, 4),
    ),
}


@pytest.mark.parametrize(("network", "shape"), STAY.values(), ids=STAY)
def test_a_norm_stays_where_it_cannot_be_folded(network, shape):
    lived(network, *shape)
    folded = fold_batch_norms(network, torch.zeros(2, *shape))
    assert norms(folded) == norms(network)
    assert_equal_outputs(network, folded, torch.randn(5, *shape))


def test_folded_weights_follow_the_formula_of_the_paper():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1, eps=0.25))
    with torch.no_grad():
        for value, number in zip(
            network.state_dict().values(), (3, 1, 2, 5, 4, 0.75), strict=False
        ):
            value.fill_(number)  # weight, bias, gamma, beta, mean, variance
    folded = fold_batch_norms(network.eval(), torch.zeros(2, 1, 1, 1))
    assert folded[0].weight.item() == 3 * 2 / 1
    assert folded[0].bias.item() == 5 + (1 - 4) * 2 / 1


class ReadsAttribute(nn.Module):
    """Reads an attribute of its norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    def forward(self, x):
        return self.bn(self.conv(x)) * self.bn.num_features


class IgnoresBias(nn.Conv2d):
    """Has no bias, and ignores an added one."""

    def forward(self, x):
        return F.conv2d(x, self.weight)


@pytest.mark.parametrize(
    ("network", "word"),
    [
        (ReadsAttribute(), "num_features"),
        (nn.Sequential(IgnoresBias(3, 4, 1, bias=False), nn.BatchNorm2d(4)), "difference"),
    ],
    ids=["attributes", "bias"],
)
def test_a_network_with_other_outputs_without_norms_is_refused(network, word):
    lived(network, 3, 4, 4)
    with pytest.raises(BadInput) as caught:
        fold_batch_norms(network, torch.zeros(2, 3, 4, 4))
    assert_explains(caught.value, word)


def test_zeros_stay_zero_and_no_denormal_is_left():
    network = lived(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 3, 4, 4)
    with torch.no_grad():
        network[0].weight[0] = 0
        network[0].weight[1] *= 1e-37
        network[1].weight[1] = 1e-6
        network[0].weight[2, 0, 0, 0] = 1e-40  # a denormal from elsewhere
    folded = fold_batch_norms(network, torch.zeros(2, 3, 4, 4))
    for value in (
        folded.state_dict().values()
    ):  # by their bits: the processor may be told to take them for zeros
        bits = value.contiguous().view(torch.int32) & 0x7FFFFFFF
        assert not ((bits > 0) & (bits < 0x00800000)).any()
    assert not folded[0].weight[0].any()
    assert not folded[0].weight[1].any()
    assert_close_outputs(network, folded, torch.randn(2, 3, 4, 4), 1e-6)


def test_frozen_weights_stay_frozen_and_the_layout_stays():
    network = lived(
        nn.Sequential(nn.Conv2d(8, 4, 3, bias=False), nn.BatchNorm2d(4)), 8, 4, 4
    ).requires_grad_(False)
    network.to(memory_format=torch.channels_last)
    folded = fold_batch_norms(network, torch.zeros(2, 8, 4, 4))
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert folded[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_norms_behind_shared_weights_are_not_folded_into_their_codebook():
    network = lived(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), 3, 4, 4)
    record(network, Masked(("0.weight",)))
    assert masked_weights(fold_batch_norms(network, torch.zeros(2, 3, 4, 4))) == ("0.weight",)
    record(network, Shared(("0.weight",)))
    with pytest.raises(BadInput) as caught:
        fold_batch_norms(network, torch.zeros(2, 3, 4, 4))
    assert_explains(caught.value, "before weights are shared", "in 0")
