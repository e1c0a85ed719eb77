"""Networks pruned to half their work, by Espalier and by torch-pruning: speed and size of their files.

    pip install torch-pruning==1.6.1 --target FOLDER
    PYTHONPATH=FOLDER python benchmarks/bench_peers.py [NETWORK ...] [--write]

Weights are those of the factories, so nothing is said of accuracy. Both prune the same weights in
widths of multiples of 8: Espalier as it does by default, torch-pruning in three ways, each with the
largest ratio that leaves at most half of the multiply-accumulates. Where one of these leaves far
less than half, Espalier prunes as far a second time, so that equal work is compared. All files of
a network are timed in turn in one process, at batch 1 on one thread of ONNX Runtime.
"""

import argparse
import copy
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from committed import RESULTS, ROOT, conditions, place_table, read
from committed import show as commit
from torch import nn
from torchvision.ops.misc import MLP

from espalier.export.onnx import write
from espalier.inputs.image import Normalize
from espalier.judging import ratio
from espalier.measures.macs import count_macs, count_parameters
from espalier.measures.sittings import in_sittings
from espalier.models import build
from espalier.pruning import prune
from espalier.runtimes import DEFAULT

try:
    import torch_pruning as tp
except ImportError:  # the table can be made without it
    tp = None

PAGE = ROOT / "docs" / "methods.md"
SHAPE, CLASSES, KEEP, ALIGN = (3, 224, 224), 1000, 0.5, 8
HALVINGS = 7  # of the interval in which torch-pruning's ratio is searched
SITTINGS, SECONDS = 10, 60  # of timing, for all files of a network together
OWN, AS_FAR = "espalier", "espalier, as far as {}"
NEAR = 0.95  # of the bound: a way that leaves less is compared at its own work
NETWORKS = (
    "resnet18", "resnet50", "mobilenet_v2", "densenet121", "convnext_tiny", "vit_b_16", "swin_t",
)  # fmt: skip


def ours(name: str, keep: float = KEEP) -> nn.Module:
    """The network of a name, pruned by Espalier's defaults."""
    torch.manual_seed(0)
    network = build(f"torchvision:{name}", classes=CLASSES, shape=SHAPE).eval()
    return prune(network, torch.zeros(2, *SHAPE), keep_macs=keep, align=ALIGN)


def dense(name: str) -> nn.Module:
    """The network of a name, as torchvision builds it."""
    torch.manual_seed(0)
    network: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=CLASSES)
    return network.eval()


def theirs(name: str, pruner: str, *, across_layers: bool, normalizer: str = "mean") -> nn.Module:
    """The largest network of at most half the work that torch-pruning makes in one way."""
    low, high, best = 0.0, 0.95, None
    whole, example = dense(name), torch.zeros(1, *SHAPE)
    most, found = KEEP * count_macs(whole, example), -1
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        smaller = copy.deepcopy(whole)
        _torch_prune(smaller, pruner, middle, across_layers=across_layers, normalizer=normalizer)
        macs = count_macs(smaller, example)
        if macs > most:
            low = middle
            continue
        high = middle
        if macs > found:
            best, found = smaller, macs
    if best is None:
        raise ValueError("no ratio left at most half of the work")
    return best


def _torch_prune(
    network: nn.Module, pruner: str, pruning_ratio: float, *, across_layers: bool, normalizer: str
) -> None:
    """Prune in place, configured as torch-pruning's examples do for transformers."""
    ignored = [layer for layer in network.modules() if _is_classifier(layer)]
    round_to = ALIGN
    if isinstance(network, torchvision.models.VisionTransformer):
        attention = nn.modules.linear.NonDynamicallyQuantizableLinear
        ignored += [layer for layer in network.modules() if isinstance(layer, attention)]
        round_to = int(np.lcm(ALIGN, network.encoder.layers[0].num_heads))
    if isinstance(network, torchvision.models.SwinTransformer):
        # its walk along the residual stream of this network does not end within minutes
        hidden = [layer[0] for layer in network.modules() if isinstance(layer, MLP)]
        ignored += [
            layer for layer in network.modules() if _multiplies(layer) and layer not in hidden
        ]
    getattr(tp.pruner, pruner)(
        network,
        torch.zeros(1, *SHAPE),
        tp.importance.GroupMagnitudeImportance(p=2, normalizer=normalizer),
        global_pruning=across_layers,
        pruning_ratio=pruning_ratio,
        round_to=round_to,
        ignored_layers=ignored,
        in_channel_groups={},  # else the defaults of its signature go on from network to network
        out_channel_groups={},
        num_heads={},
    ).step()
    if isinstance(network, torchvision.models.VisionTransformer):
        network.hidden_dim = network.conv_proj.out_channels


def _is_classifier(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and layer.out_features == CLASSES


def _multiplies(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear | nn.Conv2d)


WAYS: dict[str, Callable[[str], nn.Module]] = {
    "torch-pruning, magnitude, global": partial(
        theirs, pruner="MagnitudePruner", across_layers=True
    ),
    "torch-pruning, magnitude, uniform": partial(
        theirs, pruner="MagnitudePruner", across_layers=False
    ),
    "torch-pruning, group norm": partial(
        theirs, pruner="GroupNormPruner", across_layers=True, normalizer="max"
    ),
}


def measure(name: str) -> dict[str, Any]:
    """The figures of one network: of the whole one, and of each way."""
    figures: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files: dict[str, Path] = {}
        for way, make in {"dense": dense, OWN: ours, **WAYS}.items():
            try:
                network = make(name)
            except Exception as error:  # whatever stops a way is its result
                figures[way] = {"error": f"{type(error).__name__}: {error}"}
                continue
            files[way], figures[way] = _written(network, Path(folder) / f"{len(files)}.onnx")
            kept = figures[way]["macs"] / figures["dense"]["macs"]
            if way in WAYS and kept < NEAR * KEEP:
                again = AS_FAR.format(way)
                file = Path(folder) / f"{len(files)}.onnx"
                files[again], figures[again] = _written(ours(name, kept), file)
        seconds = _latencies(files)
    for way, taken in seconds.items():
        whole, one = figures["dense"], figures[way]
        speed = ratio(taken, seconds["dense"])
        one["milliseconds"] = 1e3 * float(np.median(taken))
        one["ratios"] = {
            "speed": [speed.value, speed.low, speed.high],
            **{key: one[key] / whole[key] for key in ("macs", "parameters", "bytes")},
        }
    return figures


def _written(network: nn.Module, file: Path) -> tuple[Path, dict[str, Any]]:
    """The deployed file of a network, with its figures."""
    pixels = torch.zeros(2, *SHAPE, dtype=torch.uint8)
    write(network, file, pixels, Normalize((0.5,) * 3, (0.25,) * 3))
    return file, {
        "macs": count_macs(network, torch.zeros(1, *SHAPE)),
        "parameters": count_parameters(network),
        "bytes": file.stat().st_size,
    }


def _latencies(files: dict[str, Path]) -> dict[str, np.ndarray]:
    """The seconds (sittings, rounds) of a call of each file, timed in turn."""
    image = np.random.default_rng(0).integers(0, 256, (1, *SHAPE), dtype=np.uint8)
    sessions = {way: DEFAULT.open(path).run for way, path in files.items()}
    once = in_sittings(lambda: sessions, {1: image}, {1: 1})[1]
    round_ = 2 * sum(float(times.wall.sum()) for times in once.values())
    rounds = max(3 * SITTINGS, int(SECONDS / round_))
    taken = in_sittings(
        lambda: {way: DEFAULT.open(path).run for way, path in files.items()},
        {1: image},
        {1: rounds},
        SITTINGS,
    )[1]
    return {way: times.comparable(alone=True) for way, times in taken.items()}


def show(name: str, ways: dict[str, dict[str, Any]]) -> None:
    """Print a row for each way."""
    for way, one in ways.items():
        if "error" in one:
            print(f"| {name} | {way} | {one['error'][:60]} | | | | |")
            continue
        part = one["ratios"]
        cells = [f"{one['milliseconds']:.2f}", f"{part['speed'][0]:.2f}"]
        cells += [f"{100 * part[key]:.1f} %" for key in ("macs", "parameters", "bytes")]
        print(f"| {name} | {way} | {' | '.join(cells)} |")


def fastest(ways: dict[str, dict[str, Any]]) -> tuple[str, str]:
    """The fastest of torch-pruning's ways, and the cut of Espalier that is compared with it."""
    speeds = {way: ways[way]["ratios"]["speed"][0] for way in WAYS if "error" not in ways[way]}
    best = max(speeds, key=lambda way: speeds[way])
    again = AS_FAR.format(best)
    return best, again if again in ways else OWN


def table() -> str:
    """The committed results in Markdown."""
    lines = [
        "| network | speed | MACs | bytes | fastest way of torch-pruning | speed | MACs | bytes | day |",
        "|---|--:|--:|--:|---|--:|--:|--:|---|",
    ]
    for name in NETWORKS:
        if not (RESULTS / "peers" / f"{name}.json").is_file():
            continue
        record = read(f"peers/{name}")
        best, own = fastest(record["ways"])
        first, second = (_cells(record["ways"][way]["ratios"]) for way in (own, best))
        way = best.removeprefix("torch-pruning, ")
        day = f"{record['device']}, {record['date']}"
        lines.append(f"| `{name}` | {first} | {way} | {second} | {day} |")
    return "\n".join(lines) + "\n"


def _cells(ratios: dict[str, Any]) -> str:
    shares = f"{100 * ratios['macs']:.1f} % | {100 * ratios['bytes']:.0f} %"
    return f"{ratios['speed'][0]:.2f}x | {shares}"


def main() -> None:
    """Print a table of each network; with `--write`, keep its figures as committed results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=", ".join(NETWORKS))
    parser.add_argument("--write", action="store_true", help="write the committed result")
    given = parser.parse_args()
    if tp is None:
        raise SystemExit(
            "Expected torch-pruning, with which this benchmark compares; found none: "
            "pip install torch-pruning==1.6.1 --target FOLDER, and put FOLDER on PYTHONPATH."
        )
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for name in given.networks or NETWORKS:
        record = conditions(f"python benchmarks/bench_peers.py {name} --write") | _setting()
        record["ways"] = measure(name)
        show(name, record["ways"])
        commit(f"peers/{name}", record, write=given.write)
    if given.write:
        place_table("peers", table(), PAGE)


def _setting() -> dict[str, Any]:
    packages = ("torchvision", "torch-pruning", "onnxruntime")
    versions = {name: version(name) for name in packages}
    return {"versions": versions, "threads": 1, "keep_macs": KEEP, "align": ALIGN}


if __name__ == "__main__":
    main()
