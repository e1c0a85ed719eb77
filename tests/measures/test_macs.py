"""Multiply-accumulates against those of torch's own counter."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from cases import NETWORKS, TEXT_NETWORKS
from tiny_networks_attention import ATTENTION
from tiny_networks_layers import LAYERS
from tiny_networks_shapes import SHAPES
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from espalier.measures.macs import count_macs, count_macs_of_layers
from espalier.models.build import build
from espalier.models.graph import evaluating

CASES = LAYERS | ATTENTION | SHAPES


def families():
    """The sizes of torchvision's families that the benchmark prunes, with the sides of their images."""
    path = Path(__file__).parents[2] / "benchmarks" / "bench_families.py"
    spec = importlib.util.spec_from_file_location("bench_families", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_families"] = module  # where its dataclass looks
    spec.loader.exec_module(module)
    return [pytest.param(*found, id=name) for name, found in module.FAMILIES.items()]


@torch.no_grad()
def counted_by_torch(network, *inputs):
    """Multiply-accumulates by torch's counter, which has no rule for oneDNN's recurrent layers and fast attention."""
    network.requires_grad_(False)  # where a layer is called with a gradient, the counter fails
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with (
            evaluating(network),
            torch.backends.mkldnn.flags(enabled=False),
            FlopCounterMode(display=False) as counter,
        ):
            network(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return counter


def assert_as_torch(network, *inputs):
    found = count_macs(network, inputs)
    assert found > 0
    assert 2 * found == counted_by_torch(network, *inputs).get_total_flops()


@pytest.mark.parametrize("case", NETWORKS, ids=str)
def test_own_networks(case):
    network = build(case.factory, classes=case.classes, shape=case.shape, arguments=case.arguments)
    assert_as_torch(network, torch.zeros(1, *case.shape))


@pytest.mark.parametrize("case", TEXT_NETWORKS, ids=str)
def test_networks_on_tokens(case):
    network = build(case.factory, classes=6, shape=(20,), arguments={"vocabulary": 90})
    assert_as_torch(network, torch.ones(1, 20, dtype=torch.int64))


@pytest.mark.parametrize("name", CASES)
def test_layers_that_people_write(name):
    case = CASES[name]
    assert_as_torch(case.make(), *(torch.zeros(1, *shape) for shape in case.shapes))


@pytest.mark.parametrize(("variant", "side"), families())
def test_families_of_torchvision(variant, side):
    """On the meta device, where nothing is computed."""
    network = build(f"torchvision:{variant}", classes=10, shape=(3, side, side)).to("meta")
    assert_as_torch(network, torch.zeros(1, 3, side, side, device="meta"))


OPERATORS = {
    "transposed convolution": lambda x: nn.functional.conv_transpose2d(
        x, x.new_ones(8, 3, 3, 2), stride=2, groups=2
    ),
    "einsum": lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
    "added batches of products": lambda x: torch.baddbmm(x[0], x[0], x[0].mT),
    "attention with fewer heads of keys": lambda x: nn.functional.scaled_dot_product_attention(
        x, x[:, :2], x[:, :2], is_causal=True, enable_gqa=True
    ),
    "one long short-term memory after the other": nn.LSTM(6, 5, 2, bidirectional=True, proj_size=3),
    "gated recurrent units without bias": nn.GRU(6, 5, bias=False, batch_first=True),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_operators(name, mode):
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.operator = OPERATORS[name]

        def forward(self, x):
            with mode():
                return self.operator(x[0] if isinstance(self.operator, nn.Module) else x)

    assert_as_torch(Layer(), torch.zeros(1, 8, 6, 6))


class Times(nn.Module):
    """A product of its input and a vector, or of a matrix and its input."""

    def __init__(self, product):
        super().__init__()
        self.product, self.weight = product, nn.Parameter(torch.zeros(32, 64))

    def forward(self, x):
        return self.product(self.weight, x)


@pytest.mark.parametrize(
    ("product", "shape", "expected"),
    [
        (lambda weight, x: x @ weight[0], (1, 10, 64), 640),
        (lambda weight, x: weight @ x[0], (1, 64), 32 * 64),
        (lambda weight, x: torch.dot(weight[0], x[0]), (1, 64), 64),
        (lambda weight, x: torch.vdot(weight[0], x[0]), (1, 64), 64),
        (lambda weight, x: torch.addmv(weight[:, 0], weight, x[0]), (1, 64), 32 * 64),
    ],
    ids=["batch by vector", "matrix by vector", "vectors", "complex vectors", "sum and product"],
)
def test_products_with_vectors(product, shape, expected):
    """torch's counter has no rule for them."""
    assert count_macs(Times(product), torch.zeros(shape)) == expected


def test_a_bilinear_layer_uses_each_weight_once():
    assert count_macs(nn.Bilinear(8, 9, 4), (torch.zeros(1, 8), torch.zeros(1, 9))) == 288


def test_layers_of_a_network_count_what_runs_in_them():
    """A layer that is called twice counts twice, and a layer with others in it counts theirs."""
    shared = nn.Linear(4, 4)
    network = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), shared), shared)
    example = torch.zeros(3, 4)
    found = count_macs_of_layers(network, ["0", "0.0", "0.1", "1"], example)
    assert found == {"0": 96, "0.0": 48, "0.1": 0, "1": 96}
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in network.modules())
