"""The values of a network that become integers, and the calls that compute in integers."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.quantization.calls import IMAGE, Intercepted, plan


class Net(nn.Module):
    """A convolution, and whatever a test does with it."""

    def __init__(self, forward) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.other = nn.Conv2d(4, 4, 1)
        self.head = nn.Linear(4, 2)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self, x)


def planned(forward):
    network = Net(forward).eval()
    return plan(network, torch.randn(2, 3, 6, 6))


def names(found) -> list[str]:
    return [name for name, _, _ in found.values.values()]


def test_a_rectifier_belongs_to_the_convolution_before_it():
    found = planned(lambda net, x: net.head(F.relu(net.conv(x)).mean((2, 3))))
    assert names(found) == ["", "relu", "mean"]
    assert list(found.weights.values()) == ["conv.weight", "head.weight"]


def test_without_a_rectifier_the_convolution_itself_gives_integers():
    found = planned(lambda net, x: net.head(net.other(net.conv(x)).mean((2, 3))))
    assert names(found) == ["", "conv2d", "conv2d", "mean"]


def test_a_convolution_that_others_than_a_rectifier_use_gives_integers_too():
    def forward(net, x):
        y = net.conv(x)
        return net.head((F.relu(y) + y).mean((2, 3)))

    assert names(planned(forward)) == ["", "conv2d", "relu", "add", "mean"]


def test_a_rectifier_in_place_is_one():
    def forward(net, x):
        y = net.conv(x)
        y = F.relu(net.other(y), inplace=True)
        y += net.conv(x)
        return net.head(torch.relu_(y).mean((2, 3)))

    assert names(planned(forward)) == ["", "conv2d", "relu", "conv2d", "relu_", "mean"]


@pytest.mark.parametrize(
    ("layer", "most"), [(nn.ReLU6(), 6.0), (nn.Hardtanh(0, 2.5), 2.5), (nn.ReLU(), float("inf"))]
)
def test_the_bound_of_a_rectifier_is_known(layer, most):
    found = planned(lambda net, x: net.head(layer(net.conv(x)).mean((2, 3))))
    assert [one for name, _, one in found.values.values() if name in ("relu", "hardtanh")] == [most]


def test_a_clipping_below_zero_is_no_rectifier():
    found = planned(lambda net, x: net.other(F.hardtanh(net.conv(x))))
    assert names(found) == ["", "conv2d", "hardtanh"]


@pytest.mark.parametrize(
    "move",
    [
        lambda y: F.max_pool2d(y, 2),
        lambda y: y.permute(0, 1, 3, 2),
        lambda y: y.flatten(1).view(-1, 4, 6, 6),
        lambda y: torch.cat(y.chunk(2, 1)[::-1], 1),
    ],
    ids=["pool", "permute", "view", "chunk"],
)
def test_calls_that_only_move_values_have_no_step(move):
    found = planned(lambda net, x: net.head(net.other(move(F.relu(net.conv(x)))).mean((2, 3))))
    assert [name for name in names(found) if name != "cat"] == ["", "relu", "conv2d", "mean"]
    relu = next(number for number, (name, _, _) in found.values.items() if name == "relu")
    assert set(found.moved.values()) == {relu}


def test_outputs_are_not_quantized():
    assert names(planned(lambda net, x: net.conv(x))) == [""]
    assert names(planned(lambda net, x: net.conv(x).flatten(1))) == [""]
    found = planned(lambda net, x: net.head(net.conv(x).mean((2, 3))))
    assert "linear" not in names(found)


def test_other_functions_compute_in_floating_point_between_integers():
    found = planned(lambda net, x: net.other(F.silu(net.conv(x)) * 2))
    assert names(found) == ["", "conv2d", "mul"]


def test_sizes_are_of_one_image():
    found = planned(lambda net, x: net.other(F.relu(net.conv(x))))
    assert [size for _, size, _ in found.values.values()] == [3 * 36, 4 * 36]
    assert list(found.values) == [IMAGE, 1]


def test_a_weight_that_is_used_twice_is_named_twice():
    found = planned(lambda net, x: net.other(net.other(net.conv(x))))
    assert list(found.weights.values()) == ["conv.weight", "other.weight", "other.weight"]


def test_calls_have_the_same_numbers_when_they_are_intercepted():
    network = Net(lambda net, x: net.head(F.relu(net.conv(x)).mean((2, 3)))).eval()
    x = torch.randn(5, 3, 6, 6)
    seen = []

    def value(number: int, name: str, result: Tensor) -> Tensor:
        seen.append((number, name))
        return result

    with Intercepted(value, lambda _, weight: weight):
        answers = network(x)
    assert torch.equal(answers, network(x))
    assert seen == [(0, "conv2d"), (1, "relu"), (2, "mean"), (3, "linear")]
    found = plan(network, x)
    assert all(
        dict(seen)[number] == name
        for number, (name, _, _) in found.values.items()
        if number != IMAGE
    )
    with Intercepted(
        lambda number, name, result: result * 2 if number == 2 else result, lambda _, weight: weight
    ):
        doubled = network(x)
    torch.testing.assert_close(doubled, 2 * answers - network.head.bias)
    with Intercepted(
        lambda number, name, result: result,
        lambda number, weight: weight * (2 if number == 3 else 1),
    ):
        assert torch.equal(network(x), doubled)


def test_weights_by_keyword_become_integers_like_those_by_position():
    def forward(net, x):
        y = F.conv2d(x, weight=net.conv.weight, bias=net.conv.bias, padding=1)
        y = F.conv2d(input=F.relu(y), weight=net.other.weight)
        return F.linear(y.mean((2, 3)), bias=net.head.bias, weight=net.head.weight)

    assert list(planned(forward).weights.values()) == ["conv.weight", "other.weight", "head.weight"]
    seen = []
    network = Net(forward)
    doubled = Intercepted(
        lambda number, name, one: one, lambda number, one: seen.append(one) or one
    )
    with torch.no_grad(), doubled:
        network(torch.randn(2, 3, 6, 6))
    assert [one.shape for one in seen] == [
        network.conv.weight.shape,
        network.other.weight.shape,
        network.head.weight.shape,
    ]
