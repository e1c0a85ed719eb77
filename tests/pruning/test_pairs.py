"""Every sensible pair of score, pattern and budget: something goes, and what is left is a network like any other."""

import pytest
import torch
from cases import CUTS, Cut, Network
from properties import (
    assert_equal_outputs,
    assert_input_untouched,
    assert_random_numbers_untouched,
    example_of,
)
from torch import Tensor, nn
from torch.nn import functional as F

from espalier.export.onnx import export, relative_difference
from espalier.inputs.image import Normalize
from espalier.measures.macs import count_macs, fraction_of_zeros
from espalier.models import build, load, save
from espalier.pruning import prune
from espalier.pruning.patterns import PATTERNS
from espalier.pruning.scores import SCORES
from espalier.runtimes import DEFAULT

pytestmark = pytest.mark.filterwarnings(
    "ignore::espalier.errors.Notice"
)  # that so tiny networks miss their targets
TRUSTED = ("user_package",)


def losses(network: nn.Module):
    source = torch.Generator().manual_seed(2)
    for _ in range(2):
        yield F.cross_entropy(network(torch.randn(8, 1, 16, 16, generator=source)), torch.arange(8))


def build_network(case: Network) -> nn.Module:
    torch.manual_seed(0)
    network = build(
        case.factory, classes=10, shape=case.shape, arguments=case.arguments, trusted=TRUSTED
    )
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):  # what a fresh norm has is alike everywhere
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    return network


def pruned(network: nn.Module, cut: Cut, score: str, budget: str = "global") -> nn.Module:
    target = {"below": 0.12, "align": 1} if score == "threshold" else cut.target
    if score == "threshold" and cut.pattern == "weights":
        target = {"below": 0.05}
    images = torch.zeros(2, 1, 16, 16)
    return prune(
        network, images, pattern=cut.pattern, score=score, budget=budget, losses=losses, **target
    )


def images(count: int) -> Tensor:
    return torch.randint(
        0, 256, (count, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def rows():
    """Every score of channels, two of other patterns, on the first network; the others in the long run."""
    for cut in CUTS:
        for score in [name for name, one in SCORES.items() if cut.pattern in one.patterns]:
            for number, network in enumerate(cut.networks):
                soon = not number and (
                    cut.pattern == "channels" or score in ("magnitude", "taylor")
                )
                yield pytest.param(
                    cut,
                    score,
                    network,
                    marks=() if soon else pytest.mark.slow,
                    id=f"{cut}-{score}-{network}",
                )


@pytest.mark.parametrize(("cut", "score", "case"), list(rows()))
def test_every_sensible_score_cuts_every_pattern(cut, score, case, tmp_path):
    network = build_network(case)
    with assert_input_untouched(network), assert_random_numbers_untouched():
        smaller = pruned(network, cut, score)
    if cut.target.get("keep_macs"):
        assert count_macs(smaller, example_of(case.shape)) < count_macs(
            network, example_of(case.shape)
        )
    else:
        assert fraction_of_zeros(smaller) > 0.05
    save(smaller, tmp_path)
    again = load(tmp_path, trusted=TRUSTED)
    assert_equal_outputs(smaller, again, images(3) / 255)
    F.cross_entropy(again.train()(images(4) / 255), torch.arange(4)).backward()


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_every_pattern_is_exported(cut, tmp_path):
    smaller = pruned(build_network(cut.networks[0]), cut, "magnitude")
    export(smaller, tmp_path / "model.onnx", images(4), Normalize((0.0,), (1.0,)))
    found = DEFAULT.open(tmp_path / "model.onnx").outputs(images(4).numpy())
    with torch.no_grad():
        assert relative_difference(smaller(images(4) / 255).numpy(), found) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("score", ["magnitude", "taylor", "random"])
@pytest.mark.parametrize("budget", ["uniform", "sensitivity"])
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_every_sensible_budget_cuts_every_pattern(cut, budget, score):
    if budget not in PATTERNS[cut.pattern].budgets:
        pytest.skip(f"{cut.pattern} leaves nothing for a budget to choose")
    network = build_network(cut.networks[0])
    with assert_input_untouched(network):
        smaller = pruned(network, cut, score, budget)
    work = [count_macs(one, example_of(cut.networks[0].shape)) for one in (smaller, network)]
    assert work[0] < work[1] or fraction_of_zeros(smaller) > 0.5
