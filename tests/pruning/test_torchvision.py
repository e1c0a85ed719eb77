"""torchvision's families, pruned: they run, learn, are saved and exported, and the cut is right."""

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from espalier.errors import Notice
from espalier.export.onnx import export
from espalier.measures.macs import count_macs
from espalier.models import build, load, save
from espalier.pruning import prune
from espalier.pruning.surgery import cut
from espalier.pruning.units import Units, find_units

pytestmark = pytest.mark.slow

FAMILIES = {
    "resnet18": 0.5,
    "densenet121": 0.5,
    "mobilenet_v3_small": 0.5,
    "shufflenet_v2_x0_5": 0.5,
    "googlenet": 0.5,
    "squeezenet1_0": 0.5,
    "efficientnet_b0": 0.5,
    "regnet_y_400mf": 0.5,
    "vit_b_16": 0.7,
    "convnext_tiny": 0.5,
}
SHAPE = (3, 64, 64)


@pytest.fixture(scope="module")
def grown():
    """A family's network with random norms, and its units; the last one is kept."""
    made: dict[str, tuple[nn.Module, Units]] = {}

    def grow(name: str) -> tuple[nn.Module, Units]:
        if name not in made:
            made.clear()
            torch.manual_seed(0)
            network = build(f"torchvision:{name}", classes=10, shape=SHAPE).eval()
            for module in network.modules():
                if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, std=0.1)
                if isinstance(module, nn.Linear) and module.out_features == 10:
                    nn.init.normal_(module.weight)  # a transformer's head starts at zero
            made[name] = network, find_units(network, images(2))
        return made[name]

    return grow


def images(count: int) -> Tensor:
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_pruned_trained_saved_and_exported(grown, name, tmp_path):
    network, _ = grown(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        smaller = prune(network, images(2), keep_macs=FAMILIES[name], align=8)
    assert count_macs(smaller, SHAPE) <= FAMILIES[name] * count_macs(network, SHAPE)
    loss = smaller.train()(images(2)).square().mean()
    loss.backward()
    assert all(parameter.grad is not None for parameter in smaller.parameters())
    save(smaller, tmp_path / "model")
    again = load(tmp_path / "model")
    with torch.no_grad():
        assert torch.equal(again(images(3)), smaller.eval()(images(3)))
    pixels = torch.randint(0, 256, (3, *SHAPE), dtype=torch.uint8)
    assert export(smaller, tmp_path / "model.onnx", pixels, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)) <= 1e-4


@pytest.mark.parametrize("name", FAMILIES)
def test_dead_channels_of_a_family_go_without_a_trace(grown, name):
    network, units = grown(name)
    kept = np.random.default_rng(0).random(units.count) < 0.6
    kept[np.unique(units.layer, return_index=True)[1]] = True
    for norm, module in network.named_modules():
        if isinstance(module, nn.LayerNorm):
            unit = units.where[f"{norm}.weight"][0]
            kept[unit[unit >= 0]] = True
    dead = copy.deepcopy(network)
    for parameter, value in dead.named_parameters():
        unit = units.where.get(parameter, {}).get(0, np.zeros(0, int))
        value.data[torch.from_numpy(np.flatnonzero((unit >= 0) & ~kept[unit]))] = 0.0
    assert (~kept).sum() > 0.2 * units.count
    dead, pixels = dead.double(), images(2).double()
    with torch.no_grad():
        before, after = dead(pixels), cut(dead, units, kept)(pixels)
        assert not torch.allclose(before, network.double()(pixels))
        network.float()
    torch.testing.assert_close(after, before, rtol=0, atol=1e-9 * float(before.abs().max()))
