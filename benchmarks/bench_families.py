"""Every family of torchvision's classifiers, pruned to half its work: does it run, learn, save, load and export?

    python benchmarks/bench_families.py [FAMILY ...]

Prints a table in Markdown. Weights are random: what is shown is that the cut works and what it costs, not accuracy.
Seconds are of the processor, on one thread, so that what else the machine does is not among them.
"""

import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from espalier.errors import Notice
from espalier.export.onnx import export
from espalier.inputs.image import Normalize
from espalier.measures.macs import count_macs, count_parameters
from espalier.models import build, load, save
from espalier.pruning import prune

# A size of each family, and the side of its images. alexnet and vgg pool to 6 and 7 places, which
# ONNX Runtime can do from no fewer, and maxvit's windows divide no smaller image.
FAMILIES = {
    "alexnet": ("alexnet", 224),
    "convnext": ("convnext_tiny", 64),
    "densenet": ("densenet121", 64),
    "efficientnet": ("efficientnet_b0", 64),
    "efficientnet_v2": ("efficientnet_v2_s", 64),
    "googlenet": ("googlenet", 64),
    "inception_v3": ("inception_v3", 96),
    "maxvit": ("maxvit_t", 224),
    "mnasnet": ("mnasnet0_5", 64),
    "mobilenet_v2": ("mobilenet_v2", 64),
    "mobilenet_v3": ("mobilenet_v3_small", 64),
    "regnet_x": ("regnet_x_400mf", 64),
    "regnet_y": ("regnet_y_400mf", 64),
    "resnet": ("resnet18", 64),
    "resnext": ("resnext50_32x4d", 64),
    "shufflenet_v2": ("shufflenet_v2_x0_5", 64),
    "squeezenet": ("squeezenet1_0", 64),
    "swin": ("swin_t", 64),
    "swin_v2": ("swin_v2_t", 64),
    "vgg": ("vgg11", 224),
    "vgg with batch norm": ("vgg11_bn", 224),
    "vit": ("vit_b_16", 224),
    "wide_resnet": ("wide_resnet50_2", 64),
}
KEEP, ALIGN, CLASSES = 0.5, 8, 10


@dataclass(frozen=True)
class Result:
    """The result of one family.

    Attributes:
        before: multiply-accumulates before pruning.
        after: multiply-accumulates after pruning.
        parameters: parameters before and after pruning.
        pruning: seconds of pruning.
        whole: seconds of everything: build, prune, a step forward and backward, save, load, export
            and compare.
        agreement: largest difference of the logits of the exported file, relative to the largest
            logit above 1.
        loaded: largest difference of the logits of the saved and loaded network.
    """

    before: int
    after: int
    parameters: tuple[int, int]
    pruning: float
    whole: float
    agreement: float
    loaded: float


def measure(factory: str, side: int) -> Result:
    """Prune one network and do all that a network must stand."""
    start = time.process_time()
    torch.manual_seed(0)
    shape = (3, side, side)
    images = torch.randn(2, *shape)
    network = awake(build(factory, classes=CLASSES, shape=shape).eval())
    begun = time.process_time()
    smaller = prune(network, images, keep_macs=KEEP, align=ALIGN)
    pruning = time.process_time() - begun
    loss = smaller.train()(images).square().mean()
    loss.backward()
    lost = [name for name, parameter in smaller.named_parameters() if parameter.grad is None]
    if lost:
        raise AssertionError(f"{factory}: no gradient reaches {lost[0]}")
    pixels = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    scale(smaller.eval(), (pixels / 255 - 0.5) / 0.25)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        save(smaller, folder)
        loaded = float((load(folder)(images) - smaller(images)).abs().max())
        agreement = export(
            smaller, Path(folder) / "model.onnx", pixels, Normalize((0.5,) * 3, (0.25,) * 3)
        )
    return Result(
        before=count_macs(network, torch.zeros(1, *shape)),
        after=count_macs(smaller, torch.zeros(1, *shape)),
        parameters=(count_parameters(network), count_parameters(smaller)),
        pruning=pruning,
        whole=time.process_time() - start,
        agreement=agreement,
        loaded=loaded,
    )


@torch.no_grad()
def awake(network: nn.Module) -> nn.Module:
    """With random weights where all are zero, as in the heads of transformers."""
    for parameter in network.parameters():
        if parameter.abs().max() < 1e-3:
            nn.init.normal_(parameter, std=0.1)
    return network


@torch.no_grad()
def scale(network: nn.Module, images: Tensor) -> None:
    """Make the largest logit 1, in place: of logits that are next to nothing every file would agree."""
    last = [layer for layer in network.modules() if isinstance(layer, nn.Linear | nn.Conv2d)][-1]
    largest = network(images).abs().max()
    for parameter in last.parameters():
        parameter.div_(largest)


def row(family: str, variant: str, side: int, result: Result) -> str:
    """One line of the table."""
    cells = (
        family,
        f"`{variant}`",
        f"{side}",
        f"{result.before / 1e6:,.1f} M",
        f"{result.after / 1e6:,.1f} M",
        f"{100 * result.after / result.before:.1f} %",
        " → ".join(f"{count / 1e6:.2f} M" for count in result.parameters),
        f"{result.pruning:.1f}",
        f"{result.whole:.1f}",
        f"{result.agreement:.0e}",
        f"{result.loaded:.0e}" if result.loaded else "0",
    )
    return f"| {' | '.join(cells)} |"


def main(asked: list[str]) -> None:
    """Print the table, a row as soon as it is known."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", Notice)  # of what misses its target: the table says it
    titles = (
        "family", "variant", "image", "MACs", "pruned", "kept", "parameters", "pruning, s", "all, s",
        "ONNX differs by", "loaded by",
    )  # fmt: skip
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)
    for family, (variant, side) in FAMILIES.items():
        if not asked or family in asked or variant in asked:
            print(row(family, variant, side, measure(f"torchvision:{variant}", side)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
